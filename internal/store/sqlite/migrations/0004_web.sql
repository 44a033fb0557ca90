-- What people show of themselves, groups that everybody may find, and of what
-- somebody wants to be told.

ALTER TABLE users ADD COLUMN status TEXT NOT NULL DEFAULT '';

ALTER TABLE users ADD COLUMN avatar TEXT NOT NULL DEFAULT '';

CREATE TABLE avatars (
  user_id INTEGER PRIMARY KEY,
  hash    TEXT NOT NULL,
  type    TEXT NOT NULL,
  bytes   BLOB NOT NULL
) STRICT;

CREATE INDEX avatars_by_hash ON avatars (hash);

ALTER TABLE chats ADD COLUMN listed INTEGER NOT NULL DEFAULT 0 CHECK (listed IN (0, 1));

CREATE INDEX chats_listed ON chats (chat_id) WHERE listed = 1 AND deleted_at IS NULL;

ALTER TABLE participants ADD COLUMN notify TEXT NOT NULL DEFAULT '' CHECK (notify IN ('', 'mentions', 'none'));
