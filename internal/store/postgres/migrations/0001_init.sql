-- The first schema. schema.sql shows the newest one, with its reasons.

CREATE TABLE meta (
  name  text COLLATE "C" PRIMARY KEY,
  value text COLLATE "C" NOT NULL
);

CREATE TABLE counters (
  name  text COLLATE "C" PRIMARY KEY,
  value bigint NOT NULL
);

CREATE TABLE writers (
  writer_id bigint PRIMARY KEY,
  batch     bigint NOT NULL,
  stamp     bigint NOT NULL,
  used_at   bigint NOT NULL
) WITH (fillfactor = 20);

CREATE TABLE users (
  user_id        bigint PRIMARY KEY,
  username       text COLLATE "C" NOT NULL UNIQUE,
  name           text COLLATE "C" NOT NULL,
  role           text COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  bot            boolean NOT NULL,
  disabled       boolean NOT NULL,
  password_hash  text COLLATE "C" NOT NULL,
  created_at     bigint NOT NULL,
  hides_presence boolean NOT NULL,
  status         text COLLATE "C" NOT NULL,
  avatar         text COLLATE "C" NOT NULL
);

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
  token_hash bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
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
  code_hash  bytea NOT NULL UNIQUE CHECK (length(code_hash) = 32),
  role       text COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  max_uses   bigint NOT NULL,
  uses       bigint NOT NULL,
  created_by bigint,
  created_at bigint NOT NULL,
  expires_at bigint NOT NULL
);

CREATE TABLE chats (
  chat_id        bigint PRIMARY KEY,
  kind           text COLLATE "C" NOT NULL CHECK (kind IN ('private', 'group')),
  title          text COLLATE "C" NOT NULL,
  topic          text COLLATE "C" NOT NULL,
  history        text COLLATE "C" NOT NULL,
  pair_low       bigint,
  pair_high      bigint,
  created_by     bigint,
  client_chat_id text COLLATE "C",
  body_hash      bytea NOT NULL CHECK (length(body_hash) = 16),
  created_at     bigint NOT NULL,
  deleted_at     bigint,
  last_seq       bigint NOT NULL CHECK (last_seq >= 0),
  updated_seq    bigint NOT NULL CHECK (updated_seq BETWEEN 0 AND last_seq),

  stamp          bigint NOT NULL,
  listed         boolean NOT NULL,
  CHECK ((pair_low IS NULL) = (pair_high IS NULL))
) WITH (fillfactor = 50);

CREATE UNIQUE INDEX chats_by_pair ON chats (pair_low, pair_high)
WHERE pair_low IS NOT NULL;

CREATE UNIQUE INDEX chats_by_client_id ON chats (created_by, client_chat_id)
WHERE client_chat_id IS NOT NULL;

CREATE INDEX chats_listed ON chats (chat_id) WHERE listed AND deleted_at IS NULL;

CREATE TABLE participants (
  chat_id     bigint NOT NULL,
  user_id     bigint NOT NULL,
  role        text COLLATE "C" NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
  joined_seq  bigint NOT NULL,
  left_seq    bigint NOT NULL,
  read_seq    bigint NOT NULL,
  updated_seq bigint NOT NULL,
  stamp       bigint NOT NULL,
  notify      text COLLATE "C" NOT NULL CHECK (notify IN ('', 'mentions', 'none')),
  PRIMARY KEY (chat_id, user_id)
) WITH (fillfactor = 80);

CREATE INDEX participants_by_user ON participants (user_id, chat_id);

CREATE INDEX participants_by_change ON participants (chat_id, updated_seq);

CREATE TABLE messages (
  chat_id     bigint NOT NULL,
  seq         bigint NOT NULL,
  updated_seq bigint NOT NULL CHECK (updated_seq >= seq),
  sender_id   bigint NOT NULL,
  content     text COLLATE "C" NOT NULL,
  reply_to    bigint,
  mentions    text COLLATE "C",
  mention_all boolean NOT NULL,
  created_at  bigint NOT NULL,
  edited_at   bigint,
  deleted_at  bigint,
  PRIMARY KEY (chat_id, seq)
);

CREATE INDEX messages_by_change ON messages (chat_id, updated_seq)
WHERE updated_seq > seq;

CREATE TABLE mentions (
  user_id bigint NOT NULL,
  chat_id bigint NOT NULL,
  seq     bigint NOT NULL,
  PRIMARY KEY (user_id, chat_id, seq)
);

CREATE TABLE reactions (
  chat_id    bigint NOT NULL,
  seq        bigint NOT NULL,
  user_id    bigint NOT NULL,
  emoji      text COLLATE "C" NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (chat_id, seq, user_id, emoji)
);

CREATE TABLE sent (
  client_msg_id bytea NOT NULL,
  sender_id     bigint NOT NULL,
  chat_id       bigint NOT NULL,
  seq           bigint NOT NULL,
  body_hash     bytea NOT NULL CHECK (length(body_hash) = 16),
  created_at    bigint NOT NULL,
  PRIMARY KEY (client_msg_id, sender_id)
);
INSERT INTO counters (name, value)
VALUES ('chat', 0), ('invite', 0), ('session', 0), ('user', 0);

INSERT INTO meta (name, value) VALUES ('stamp_offset', '0');

INSERT INTO writers (writer_id, batch, stamp, used_at) VALUES (0, 0, 0, 0);
