-- Long contents stand beside the messages' rows, see schema.sql. Those
-- that there are are moved by moveLongContents, piece by piece afterwards.

CREATE TABLE long_contents (
  chat_id INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  content TEXT NOT NULL,
  PRIMARY KEY (chat_id, seq)
) STRICT;
