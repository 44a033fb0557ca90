-- Long contents stand beside the messages' rows, see schema.sql.

CREATE TABLE long_contents (
  chat_id INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  content TEXT NOT NULL,
  PRIMARY KEY (chat_id, seq)
) STRICT;

INSERT INTO long_contents (chat_id, seq, content)
SELECT chat_id, seq, content FROM messages WHERE octet_length(content) > 768;

UPDATE messages SET content = '' WHERE octet_length(content) > 768;
