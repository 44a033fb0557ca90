-- The first schema. schema.sql shows the newest one, with its reasons.

PRAGMA application_id = 0x47726d61;

CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta (name, value) VALUES ('epoch', lower(hex(randomblob(8))));

CREATE TABLE counters (
  name  TEXT NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, value)
VALUES ('chat', 0), ('invite', 0), ('session', 0), ('stamp', 0), ('user', 0);

CREATE TABLE users (
  user_id       INTEGER PRIMARY KEY,
  username      TEXT NOT NULL UNIQUE,
  name          TEXT NOT NULL,
  role          TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  bot           INTEGER NOT NULL CHECK (bot IN (0, 1)),
  disabled      INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  password_hash TEXT NOT NULL,
  created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
  session_id INTEGER PRIMARY KEY,
  user_id    INTEGER NOT NULL,
  token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
  device     TEXT NOT NULL,
  client     TEXT NOT NULL,
  api        INTEGER NOT NULL CHECK (api IN (0, 1)),
  created_at INTEGER NOT NULL,
  used_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE invites (
  invite_id  INTEGER PRIMARY KEY,
  code_hash  BLOB NOT NULL UNIQUE CHECK (length(code_hash) = 32),
  role       TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  max_uses   INTEGER NOT NULL,
  uses       INTEGER NOT NULL,
  created_by INTEGER,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE chats (
  chat_id        INTEGER PRIMARY KEY,
  kind           TEXT NOT NULL CHECK (kind IN ('private', 'group')),
  title          TEXT NOT NULL,
  topic          TEXT NOT NULL,
  history        TEXT NOT NULL,
  pair_low       INTEGER,
  pair_high      INTEGER,
  created_by     INTEGER,
  client_chat_id TEXT,
  body_hash      BLOB NOT NULL CHECK (length(body_hash) = 16),
  created_at     INTEGER NOT NULL,
  deleted_at     INTEGER,
  last_seq       INTEGER NOT NULL CHECK (last_seq >= 0),
  updated_seq    INTEGER NOT NULL CHECK (updated_seq BETWEEN 0 AND last_seq),
  stamp          INTEGER NOT NULL,
  CHECK ((pair_low IS NULL) = (pair_high IS NULL))
) STRICT;

CREATE UNIQUE INDEX chats_by_pair ON chats (pair_low, pair_high)
WHERE pair_low IS NOT NULL;

CREATE UNIQUE INDEX chats_by_client_id ON chats (created_by, client_chat_id)
WHERE client_chat_id IS NOT NULL;

CREATE TABLE participants (
  chat_id     INTEGER NOT NULL,
  user_id     INTEGER NOT NULL,
  role        TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  joined_seq  INTEGER NOT NULL,
  left_seq    INTEGER NOT NULL,
  read_seq    INTEGER NOT NULL,
  updated_seq INTEGER NOT NULL,
  stamp       INTEGER NOT NULL,
  PRIMARY KEY (chat_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX participants_by_user ON participants (user_id, chat_id);

CREATE INDEX participants_by_change ON participants (chat_id, updated_seq);

CREATE TABLE messages (
  chat_id     INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  updated_seq INTEGER NOT NULL CHECK (updated_seq >= seq),
  sender_id   INTEGER NOT NULL,
  content     TEXT NOT NULL,
  reply_to    INTEGER,
  mentions    TEXT,
  mention_all INTEGER NOT NULL CHECK (mention_all IN (0, 1)),
  created_at  INTEGER NOT NULL,
  edited_at   INTEGER,
  deleted_at  INTEGER,
  PRIMARY KEY (chat_id, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX messages_by_change ON messages (chat_id, updated_seq)
WHERE updated_seq > seq;

CREATE TABLE mentions (
  user_id INTEGER NOT NULL,
  chat_id INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  PRIMARY KEY (user_id, chat_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE reactions (
  chat_id    INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  user_id    INTEGER NOT NULL,
  emoji      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (chat_id, seq, user_id, emoji)
) STRICT, WITHOUT ROWID;

CREATE TABLE sent (
  sender_id     INTEGER NOT NULL,
  client_msg_id ANY NOT NULL,
  chat_id       INTEGER NOT NULL,
  seq           INTEGER NOT NULL,
  body_hash     BLOB NOT NULL CHECK (length(body_hash) = 16),
  created_at    INTEGER NOT NULL,
  PRIMARY KEY (sender_id, client_msg_id)
) STRICT, WITHOUT ROWID;
