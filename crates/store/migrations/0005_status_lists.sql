-- engine: both

-- Token Status Lists: which bit of which list tells whether an access token lives. The bits themselves are kept nowhere:
-- they are computed from what the tokens hang on.

-- `full_at` null: entries are still allotted in it.
create table status_lists (
    tenant          bigint not null,
    list_id         text   not null,
    opened_at       bigint not null,
    full_at         bigint,
    primary key (tenant, list_id)
);

-- One row for everything that decides alike about the tokens that name it: a user's session, grant and client, the
-- client's counter and the signing key. `user_key` is empty for a client's own tokens, `session_key` where tokens name
-- no session. `keep_until`: the last expiry of a token that names the entry; some time after it the index is free.
create table status_entries (
    tenant          bigint not null,
    list_id         text   not null,
    idx             bigint not null,
    user_key        bytea  not null,
    grant_key       bytea  not null,
    session_key     bytea  not null,
    client_id       text   not null,
    user_counter    bigint not null,
    client_counter  bigint not null,
    kid             text   not null,
    audience        text   not null,
    created_at      bigint not null,
    keep_until      bigint not null,
    primary key (tenant, list_id, idx)
) /*sqlite without rowid */;
create unique index status_entries_subject
    on status_entries (tenant, user_key, grant_key, session_key, client_counter, kid);
