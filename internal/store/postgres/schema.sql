-- The whole schema, as the migrations in migrations/ leave it (a test holds the
-- two together). Change it by adding a migration, and then here.
--
-- It is that of internal/store/sqlite, whose comments say what the columns mean;
-- here stands what is PostgreSQL's. Times are Unix milliseconds, NULL stands for
-- "none" where Go has a zero value, and there are no foreign keys, for the same
-- reasons.
--
-- PostgreSQL cannot store the character U+0000. In every text here it is written
-- as two characters U+0001, and U+0001 as U+0001 U+0002; all other text is as it
-- was given. Texts are compared byte by byte.

-- Facts about this database. 'epoch' names its history, 'version' is the number
-- of the last migration, 'home' is where this history was last written (another
-- cluster, timeline or table: it was restored, and gets a new epoch), and
-- 'stamp_offset' is added to transaction ids to make stamps.
CREATE TABLE meta (
  name  text COLLATE "C" PRIMARY KEY,
  value text COLLATE "C" NOT NULL
);

-- The last ids given out, which are never used again.
CREATE TABLE counters (
  name  text COLLATE "C" PRIMARY KEY,
  value bigint NOT NULL
);

-- One row per process that writes, which it updates in every transaction:
-- 'batch' counts them, so that who lost the answer to a COMMIT can find out, and
-- bar that transaction if it has not happened; 'stamp' is the newest one it gave
-- out. The row 0 is nobody's and keeps what a restored history had, and the count
-- of those that have long gone.
CREATE TABLE writers (
  writer_id bigint PRIMARY KEY,
  batch     bigint NOT NULL,
  stamp     bigint NOT NULL,
  used_at   bigint NOT NULL,
  forgot    bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

-- What changed lately (changed.go): for each transaction the chats whose rows it
-- wrote, and the participants, chat by chat and user by user. After some minutes
-- they are deleted; above the largest writers.forgot all are there.
CREATE TABLE changed (
  stamp        bigint PRIMARY KEY,
  chats        bigint[] NOT NULL,
  people_chats bigint[] NOT NULL,
  people_users bigint[] NOT NULL
) WITH (toast_tuple_target = 8160);

ALTER TABLE changed ALTER chats SET STORAGE EXTERNAL, ALTER people_chats SET STORAGE EXTERNAL, ALTER people_users SET STORAGE EXTERNAL;

CREATE TABLE users (
  user_id        bigint PRIMARY KEY,
  username       text COLLATE "C" NOT NULL UNIQUE, -- canonical
  name           text COLLATE "C" NOT NULL,
  role           text COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  bot            boolean NOT NULL,
  disabled       boolean NOT NULL,
  password_hash  text COLLATE "C" NOT NULL, -- empty: no password login
  created_at     bigint NOT NULL,
  hides_presence boolean NOT NULL,
  status         text COLLATE "C" NOT NULL,
  avatar         text COLLATE "C" NOT NULL -- avatars.hash of theirs; empty: none
);

CREATE TABLE user_words (
  word    text COLLATE "C" NOT NULL,
  user_id bigint NOT NULL,
  PRIMARY KEY (word, user_id)
);

-- Pictures of people, beside their rows, which are read much more often. Two may
-- have the same picture.
CREATE TABLE avatars (
  user_id bigint PRIMARY KEY,
  hash    text COLLATE "C" NOT NULL,
  type    text COLLATE "C" NOT NULL,
  bytes   bytea NOT NULL
);

CREATE INDEX avatars_by_hash ON avatars (hash);

CREATE TABLE sessions (
  session_id bigint PRIMARY KEY,
  user_id    bigint NOT NULL,
  token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32), -- SHA-256
  device     text COLLATE "C" NOT NULL,
  client     text COLLATE "C" NOT NULL,
  api        boolean NOT NULL,
  created_at bigint NOT NULL,
  used_at    bigint NOT NULL,
  expires_at bigint NOT NULL
);

CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE invites (
  invite_id  bigint PRIMARY KEY,
  code_hash  bytea NOT NULL UNIQUE CHECK (length(code_hash) = 32), -- SHA-256
  role       text COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  max_uses   bigint NOT NULL,
  uses       bigint NOT NULL,
  created_by bigint, -- NULL: the operator; -1: the server, for its first owner
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL
);

-- The row that every change of a chat locks and updates: with room on its page,
-- and no index over what changes, an update stays on that page.
CREATE TABLE chats (
  chat_id        bigint PRIMARY KEY,
  kind           text COLLATE "C" NOT NULL CHECK (kind IN ('private', 'group')),
  title          text COLLATE "C" NOT NULL,
  topic          text COLLATE "C" NOT NULL,
  history        text COLLATE "C" NOT NULL,
  pair_low       bigint, -- of a private chat
  pair_high      bigint,
  created_by     bigint,
  client_chat_id text COLLATE "C",
  body_hash      bytea NOT NULL CHECK (length(body_hash) = 16),
  created_at     bigint NOT NULL,
  deleted_at     bigint,
  last_seq       bigint NOT NULL CHECK (last_seq >= 0),
  updated_seq    bigint NOT NULL CHECK (updated_seq BETWEEN 0 AND last_seq),
  -- Twice the id of the transaction that last changed the chat (plus an
  -- offset): what sync finds changed chats by. Ids do not grow in the order of
  -- commits; what may be relied on is said in stamps.go.
  stamp          bigint NOT NULL,
  listed         boolean NOT NULL, -- everybody may find it
  CHECK ((pair_low IS NULL) = (pair_high IS NULL))
) WITH (fillfactor = 50);

-- One private chat per pair.
CREATE UNIQUE INDEX chats_by_pair ON chats (pair_low, pair_high)
WHERE pair_low IS NOT NULL;

CREATE UNIQUE INDEX chats_by_client_id ON chats (created_by, client_chat_id)
WHERE client_chat_id IS NOT NULL;

CREATE INDEX chats_listed ON chats (chat_id) WHERE listed AND deleted_at IS NULL;

-- Who is or was in a chat; left_seq 0: they are in.
CREATE TABLE participants (
  chat_id     bigint NOT NULL,
  user_id     bigint NOT NULL,
  role        text COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  joined_seq  bigint NOT NULL,
  left_seq    bigint NOT NULL,
  read_seq    bigint NOT NULL,
  updated_seq bigint NOT NULL,
  stamp       bigint NOT NULL, -- as chats.stamp, of the last read mark
  notify      text COLLATE "C" NOT NULL CHECK (notify IN ('', 'mentions', 'none')), -- empty: all
  PRIMARY KEY (chat_id, user_id)
) WITH (fillfactor = 80);

-- Read marks move often, so this index holds nothing that they change.
CREATE INDEX participants_by_user ON participants (user_id, chat_id);

CREATE INDEX participants_by_change ON participants (chat_id, updated_seq);

-- A deleted message keeps its row, without content and mentions.
CREATE TABLE messages (
  chat_id     bigint NOT NULL,
  seq         bigint NOT NULL, -- identity, and position at birth
  updated_seq bigint NOT NULL CHECK (updated_seq >= seq), -- position of the latest change
  sender_id   bigint NOT NULL,
  content     text COLLATE "C" NOT NULL,
  reply_to    bigint,
  mentions    text COLLATE "C", -- a JSON array of user ids, for reading the row alone
  mention_all boolean NOT NULL,
  created_at  bigint NOT NULL,
  edited_at   bigint,
  deleted_at  bigint,
  PRIMARY KEY (chat_id, seq)
);

-- Only changed messages are in it: those that never changed are found in the
-- primary key.
CREATE INDEX messages_by_change ON messages (chat_id, updated_seq)
WHERE updated_seq > seq;

-- messages.mentions turned round, for counting. User 0 stands for everybody.
CREATE TABLE mentions (
  user_id bigint NOT NULL,
  chat_id bigint NOT NULL,
  seq     bigint NOT NULL,
  PRIMARY KEY (user_id, chat_id, seq)
);

-- Who reacted to a message with what; empty so far (docs/protocol.md#later).
CREATE TABLE reactions (
  chat_id    bigint NOT NULL,
  seq        bigint NOT NULL,
  user_id    bigint NOT NULL,
  emoji      text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (chat_id, seq, user_id, emoji)
);

-- What every client_msg_id was used for; kept for ever. 'u' and the 16 bytes of
-- a UUID in lower case, or 't' and the bytes of any other id.
CREATE TABLE sent (
  client_msg_id bytea NOT NULL,
  sender_id     bigint NOT NULL,
  chat_id       bigint NOT NULL,
  seq           bigint NOT NULL,
  body_hash     bytea NOT NULL CHECK (length(body_hash) = 16),
  created_at    bigint NOT NULL,
  PRIMARY KEY (client_msg_id, sender_id)
);
