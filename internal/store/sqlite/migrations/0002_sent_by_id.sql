-- Keys of sends ordered by their id rather than by who sent them: ids that grow
-- with time then stand together, whoever they come from.

ALTER TABLE sent RENAME TO sent_by_sender;

CREATE TABLE sent (
  client_msg_id ANY NOT NULL,
  sender_id     INTEGER NOT NULL,
  chat_id       INTEGER NOT NULL,
  seq           INTEGER NOT NULL,
  body_hash     BLOB NOT NULL CHECK (length(body_hash) = 16),
  created_at    INTEGER NOT NULL,
  PRIMARY KEY (client_msg_id, sender_id)
) STRICT, WITHOUT ROWID;

-- Without ORDER BY: what it sorts would have to fit into memory.
INSERT INTO sent (client_msg_id, sender_id, chat_id, seq, body_hash, created_at)
SELECT client_msg_id, sender_id, chat_id, seq, body_hash, created_at FROM sent_by_sender;

DROP TABLE sent_by_sender;
