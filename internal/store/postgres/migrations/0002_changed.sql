-- What changed lately, for sync and for the scans of hubs.
CREATE TABLE changed (
  stamp        bigint PRIMARY KEY,
  chats        bigint[] NOT NULL,
  people_chats bigint[] NOT NULL,
  people_users bigint[] NOT NULL
);
