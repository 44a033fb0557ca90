-- What changed lately, for sync and for the scans of hubs. Of what was before
-- nothing is known.
CREATE TABLE changed (
  stamp        bigint PRIMARY KEY,
  chats        bigint[] NOT NULL,
  people_chats bigint[] NOT NULL,
  people_users bigint[] NOT NULL
);

ALTER TABLE writers ADD COLUMN forgot bigint NOT NULL DEFAULT 0;

UPDATE writers SET forgot = (SELECT max(stamp) FROM writers) WHERE writer_id = 0;
