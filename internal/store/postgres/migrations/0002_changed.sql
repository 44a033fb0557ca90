-- What changed lately, for sync and for the scans of hubs. Of what was before
-- nothing is known.
-- Rows stay in their page, as they are: that they are more than 2 KB is usual when
-- much is going on, and to compress them costs more than to write them.
CREATE TABLE changed (
  stamp        bigint PRIMARY KEY,
  chats        bigint[] NOT NULL,
  people_chats bigint[] NOT NULL,
  people_users bigint[] NOT NULL
) WITH (toast_tuple_target = 8160);

ALTER TABLE changed ALTER chats SET STORAGE EXTERNAL, ALTER people_chats SET STORAGE EXTERNAL, ALTER people_users SET STORAGE EXTERNAL;

ALTER TABLE writers ADD COLUMN forgot bigint NOT NULL DEFAULT 0;

UPDATE writers SET forgot = (SELECT max(stamp) FROM writers) WHERE writer_id = 0;
