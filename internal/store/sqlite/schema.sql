-- The whole schema, as the migrations in migrations/ leave it (a test holds the
-- two together). Change it by adding a migration, and then here.
--
-- Times are Unix milliseconds. NULL stands for "none" where Go has a zero value.
-- There are no foreign keys: group commit writes many people's rows at once, and
-- a constraint that fails there would have to be blamed on one of them; the
-- rules in internal/chat keep the references, and Check looks for broken ones.
--
-- Search, when it comes, is an index over messages, and presence is never
-- stored; files need a table beside these (attachment_id, chat_id, seq, ...).

PRAGMA application_id = 0x47726d61; -- "Grma"

-- Facts about this database. 'epoch' names its history.
CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The last number given out: ids of users, sessions, invites and chats, which
-- are never used again, and the change stamp (see chats.stamp).
CREATE TABLE counters (
  name  TEXT NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
  user_id       INTEGER PRIMARY KEY,
  username      TEXT NOT NULL UNIQUE, -- canonical
  name          TEXT NOT NULL,
  role          TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  bot           INTEGER NOT NULL CHECK (bot IN (0, 1)),
  disabled      INTEGER NOT NULL CHECK (disabled IN (0, 1)),
  password_hash TEXT NOT NULL,        -- empty: no password login
  created_at    INTEGER NOT NULL,
  hides_presence INTEGER NOT NULL DEFAULT 0 CHECK (hides_presence IN (0, 1)),
  status        TEXT NOT NULL DEFAULT '',
  avatar        TEXT NOT NULL DEFAULT '' -- avatars.hash of theirs; empty: none
) STRICT;

-- What people are found by: the words of their names, folded (internal/words). It
-- follows from their rows, and is written with them.
CREATE TABLE user_words (
  word    TEXT NOT NULL,
  user_id INTEGER NOT NULL,
  PRIMARY KEY (word, user_id)
) STRICT, WITHOUT ROWID;

-- Pictures of people, beside their rows, which are read much more often. Two may
-- have the same picture.
CREATE TABLE avatars (
  user_id INTEGER PRIMARY KEY,
  hash    TEXT NOT NULL,
  type    TEXT NOT NULL,
  bytes   BLOB NOT NULL
) STRICT;

CREATE INDEX avatars_by_hash ON avatars (hash);

CREATE TABLE sessions (
  session_id INTEGER PRIMARY KEY,
  user_id    INTEGER NOT NULL,
  token_hash BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32), -- SHA-256
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
  code_hash  BLOB NOT NULL UNIQUE CHECK (length(code_hash) = 32), -- SHA-256
  role       TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  max_uses   INTEGER NOT NULL,
  uses       INTEGER NOT NULL,
  created_by INTEGER, -- NULL: the operator; -1: the server, for its first owner
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE chats (
  chat_id        INTEGER PRIMARY KEY,
  kind           TEXT NOT NULL CHECK (kind IN ('private', 'group')),
  title          TEXT NOT NULL,
  topic          TEXT NOT NULL,
  history        TEXT NOT NULL,
  pair_low       INTEGER, -- of a private chat
  pair_high      INTEGER,
  created_by     INTEGER,
  client_chat_id TEXT,
  body_hash      BLOB NOT NULL CHECK (length(body_hash) = 16),
  created_at     INTEGER NOT NULL,
  deleted_at     INTEGER,
  last_seq       INTEGER NOT NULL CHECK (last_seq >= 0),
  updated_seq    INTEGER NOT NULL CHECK (updated_seq BETWEEN 0 AND last_seq),
  -- The server-wide number of the update that last changed the chat: what sync
  -- finds changed chats by. It grows in the order of commits.
  stamp          INTEGER NOT NULL,
  listed         INTEGER NOT NULL DEFAULT 0 CHECK (listed IN (0, 1)), -- everybody may find it
  CHECK ((pair_low IS NULL) = (pair_high IS NULL))
) STRICT;

-- One private chat per pair.
CREATE UNIQUE INDEX chats_by_pair ON chats (pair_low, pair_high)
WHERE pair_low IS NOT NULL;

CREATE UNIQUE INDEX chats_by_client_id ON chats (created_by, client_chat_id)
WHERE client_chat_id IS NOT NULL;

CREATE INDEX chats_listed ON chats (chat_id) WHERE listed = 1 AND deleted_at IS NULL;

-- Who is or was in a chat; left_seq 0: they are in.
CREATE TABLE participants (
  chat_id     INTEGER NOT NULL,
  user_id     INTEGER NOT NULL,
  role        TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  joined_seq  INTEGER NOT NULL,
  left_seq    INTEGER NOT NULL,
  read_seq    INTEGER NOT NULL,
  updated_seq INTEGER NOT NULL,
  stamp       INTEGER NOT NULL, -- as chats.stamp, of the last read mark
  notify      TEXT NOT NULL DEFAULT '' CHECK (notify IN ('', 'mentions', 'none')), -- empty: all
  PRIMARY KEY (chat_id, user_id)
) STRICT, WITHOUT ROWID;

-- Read marks move often, so this index holds nothing that they change.
CREATE INDEX participants_by_user ON participants (user_id, chat_id);

CREATE INDEX participants_by_change ON participants (chat_id, updated_seq);

-- Clustered by chat, so that a page of history is a few neighbouring pages of
-- the file. A deleted message keeps its row, without content and mentions; one
-- without content that is not deleted has it in long_contents.
CREATE TABLE messages (
  chat_id     INTEGER NOT NULL,
  seq         INTEGER NOT NULL, -- identity, and position at birth
  updated_seq INTEGER NOT NULL CHECK (updated_seq >= seq), -- position of the latest change
  sender_id   INTEGER NOT NULL,
  content     TEXT NOT NULL,
  reply_to    INTEGER,
  mentions    TEXT,             -- a JSON array of user ids, for reading the row alone
  mention_all INTEGER NOT NULL CHECK (mention_all IN (0, 1)),
  created_at  INTEGER NOT NULL,
  edited_at   INTEGER,
  deleted_at  INTEGER,
  PRIMARY KEY (chat_id, seq)
) STRICT, WITHOUT ROWID;

-- Contents that would not fit into their rows. The rows of messages are keys of
-- its tree: whoever looks for any message, or for where there is none, compares
-- with whole rows on the way, each time with all pages that a long one goes on
-- on. This table has its keys apart: nobody reads a content but who wants it.
CREATE TABLE long_contents (
  chat_id INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  content TEXT NOT NULL,
  PRIMARY KEY (chat_id, seq)
) STRICT;

-- Only changed messages are in it: those that never changed are found in the
-- primary key, and most messages pay for no second index.
CREATE INDEX messages_by_change ON messages (chat_id, updated_seq)
WHERE updated_seq > seq;

-- messages.mentions turned round, for counting. User 0 stands for everybody.
CREATE TABLE mentions (
  user_id INTEGER NOT NULL,
  chat_id INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  PRIMARY KEY (user_id, chat_id, seq)
) STRICT, WITHOUT ROWID;

-- Who reacted to a message with what. Adding or removing one is a change of the
-- message it belongs to, which takes the chat's next number as its updated_seq.
-- Empty so far: the operations come later (docs/protocol.md#later).
CREATE TABLE reactions (
  chat_id    INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  user_id    INTEGER NOT NULL,
  emoji      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (chat_id, seq, user_id, emoji)
) STRICT, WITHOUT ROWID;

-- What every client_msg_id was used for; kept for ever. An id that is a UUID in
-- lower case is stored as its 16 bytes, anything else as text. The id comes
-- first in the key: ids that grow with time (UUIDv7) then go to the end, whoever
-- sends, and a batch writes a page or two of this table instead of one for each
-- sender.
CREATE TABLE sent (
  client_msg_id ANY NOT NULL,
  sender_id     INTEGER NOT NULL,
  chat_id       INTEGER NOT NULL,
  seq           INTEGER NOT NULL,
  body_hash     BLOB NOT NULL CHECK (length(body_hash) = 16),
  created_at    INTEGER NOT NULL,
  PRIMARY KEY (client_msg_id, sender_id)
) STRICT, WITHOUT ROWID;
