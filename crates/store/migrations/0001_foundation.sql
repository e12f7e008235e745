-- Every table leads with the tenant; tables a user owns lead with the tenant and the user's internal key, so that
-- what one request decides lies in one place. Instants are microseconds UTC, booleans are 0 and 1, documents are
-- JSON as text. Mutable times are in no index.

-- engine: both

-- Configuration -----------------------------------------------------------------------------------------------

-- `version` moves with everything a TenantConfig is built from: settings, domains, keys, resource servers,
-- connections. It is read in the statements that decide; a difference reloads the cache.
create table tenants (
    tenant          bigint not null primary key,
    name            text   not null unique,
    settings        text   not null,
    version         bigint not null,
    created_at      bigint not null
);

-- `host` as in the Host header: name, and port where it is not the scheme's own.
create table tenant_domains (
    host            text   not null primary key,
    tenant          bigint not null,
    issuer          text   not null,
    created_at      bigint not null
) /*sqlite without rowid */;

-- `state`: next (published, not used yet), current, previous (verifies), revoked.
create table signing_keys (
    tenant          bigint not null,
    kid             text   not null,
    alg             text   not null,
    state           text   not null,
    wrapped         bytea  not null,
    certificate     text   not null,
    created_at      bigint not null,
    current_since   bigint,
    current_until   bigint,
    revoked_at      bigint,
    primary key (tenant, kid)
);
create unique index signing_keys_current on signing_keys (tenant, alg) where state = 'current';
create unique index signing_keys_next on signing_keys (tenant, alg) where state = 'next';

create table sealing_keys (
    tenant          bigint not null,
    id              bigint not null,
    state           text   not null,
    wrapped         bytea  not null,
    created_at      bigint not null,
    revoked_at      bigint,
    primary key (tenant, id)
);

-- `floor`: what was issued for the identifier up to this instant is over, because an API of that name was deleted; 0
-- when there was none before.
create table resource_servers (
    tenant          bigint not null,
    id              text   not null,
    identifier      text   not null,
    doc             text   not null,
    signing_secret  text,
    floor           bigint not null,
    created_at      bigint not null,
    primary key (tenant, id)
);
create unique index resource_servers_identifier on resource_servers (tenant, identifier);

-- The longest access-token life-time in force for an audience at any time in the last such span: how long a cutoff
-- must be kept. Stays after the resource server is deleted.
create table token_lifetimes (
    tenant          bigint not null,
    audience        text   not null,
    lifetime        bigint not null,
    falls_to        bigint not null,
    falls_at        bigint not null,
    primary key (tenant, audience)
);

create table connections (
    tenant          bigint not null,
    id              text   not null,
    name            text   not null,
    strategy        text   not null,
    doc             text   not null,
    created_at      bigint not null,
    primary key (tenant, id)
);
create unique index connections_name on connections (tenant, name);

-- A row stays when the connection is disabled for the client; each disabling moves `epoch`, and families of an
-- older epoch are over even after the connection is enabled again.
create table connection_clients (
    tenant          bigint not null,
    connection_id   text   not null,
    client_id       text   not null,
    enabled         bigint not null,
    epoch           bigint not null,
    primary key (tenant, connection_id, client_id)
);

-- `floor` ends everything issued to the client at a lower counter; `token_floor` its access tokens only. `version`
-- moves with the document, the secret, the credentials, the client's grants and both floors.
create table clients (
    tenant          bigint not null,
    client_id       text   not null,
    doc             text   not null,
    secret          text   not null,
    counter         bigint not null,
    floor           bigint not null,
    token_floor     bigint not null,
    version         bigint not null,
    created_at      bigint not null,
    primary key (tenant, client_id)
);

create table client_credentials (
    tenant          bigint not null,
    client_id       text   not null,
    id              text   not null,
    doc             text   not null,
    created_at      bigint not null,
    primary key (tenant, client_id, id)
);

-- `grant_key` is what access tokens name (`cfw.g`): a grant that was deleted and made again has a new one.
create table client_grants (
    tenant          bigint not null,
    id              text   not null,
    client_id       text   not null,
    audience        text   not null,
    grant_key       bytea  not null,
    doc             text   not null,
    created_at      bigint not null,
    primary key (tenant, id)
);
create unique index client_grants_client on client_grants (tenant, client_id, audience);

-- Users -------------------------------------------------------------------------------------------------------

create table users (
    tenant          bigint not null,
    user_key        bytea  not null,
    user_id         text   not null,
    connection_id   text   not null,
    doc             text   not null,
    created_at      bigint not null,
    updated_at      bigint not null,
    primary key (tenant, user_key)
);
create index users_created on users (tenant, created_at, user_key);
create index users_connection on users (tenant, connection_id, user_key);

create table user_ids (
    tenant          bigint not null,
    user_id         text   not null,
    user_key        bytea  not null,
    primary key (tenant, user_id)
) /*sqlite without rowid */;

-- The narrow hot row. `counter` starts at the creation instant and only grows; an ending raises it and the floors
-- it names. Floors never go down.
create table user_access (
    tenant          bigint not null,
    user_key        bytea  not null,
    counter         bigint not null,
    credential_floor bigint not null,
    session_floor   bigint not null,
    family_floor    bigint not null,
    blocked         bigint,
    logins_count    bigint not null,
    last_login      bigint,
    last_ip         text,
    last_activity   bigint,
    sessions_bound  bigint not null,
    primary key (tenant, user_key)
) /*sqlite without rowid */;

-- `kind`: email, username, phone_number. Written before the user, deleted after it: an identifier without user
-- reads as contention.
create table identifiers (
    tenant          bigint not null,
    connection_id   text   not null,
    kind            text   not null,
    value           text   not null,
    user_key        bytea  not null,
    identity_id     text   not null,
    primary key (tenant, connection_id, kind, value)
) /*sqlite without rowid */;

-- `position` 0 is the primary identity. `password_hash` is a PHC string.
create table identities (
    tenant          bigint not null,
    user_key        bytea  not null,
    provider        text   not null,
    identity_id     text   not null,
    connection_id   text   not null,
    position        bigint not null,
    session_floor   bigint not null,
    password_hash   text,
    password_set_at bigint,
    profile         text   not null,
    primary key (tenant, user_key, provider, identity_id)
);

-- Consent: what a user allowed a client.
create table grants (
    tenant          bigint not null,
    user_key        bytea  not null,
    client_id       text   not null,
    audience        text   not null,
    id              text   not null,
    scope           text   not null,
    created_at      bigint not null,
    primary key (tenant, user_key, client_id, audience)
);
create index grants_client on grants (tenant, client_id, audience);
create unique index grants_id on grants (tenant, id);

-- What a client may do for a user: `family_floor` ends families and tokens of the pair.
create table user_clients (
    tenant          bigint not null,
    user_key        bytea  not null,
    client_id       text   not null,
    family_floor    bigint not null,
    families_bound  bigint not null,
    primary key (tenant, user_key, client_id)
) /*sqlite without rowid */;

-- Sessions and families ---------------------------------------------------------------------------------------

create table sessions (
    tenant          bigint not null,
    user_key        bytea  not null,
    session_key     bytea  not null,
    counter         bigint not null,
    provider        text   not null,
    identity_id     text   not null,
    connection_id   text   not null,
    secret_hash     bytea  not null,
    sealing_key     bigint not null,
    issuer          text   not null,
    created_at      bigint not null,
    authenticated_at bigint not null,
    updated_at      bigint not null,
    last_interacted_at bigint not null,
    idle_expires_at bigint not null,
    expires_at      bigint not null,
    persistent      bigint not null,
    ended_at        bigint,
    ended_cause     text,
    device          text   not null,
    methods         text   not null,
    metadata        text,
    primary key (tenant, user_key, session_key)
);

-- The clients that took part in a session: whom a logout must be told to.
create table session_clients (
    tenant          bigint not null,
    user_key        bytea  not null,
    session_key     bytea  not null,
    client_id       text   not null,
    joined_at       bigint not null,
    primary key (tenant, user_key, session_key, client_id)
) /*sqlite without rowid */;

-- A refresh token is (family, generation). `request_id` is the request that won the newest generation;
-- `auth_time_wanted` whether the authorization request asked for `auth_time`, which every ID token then carries.
create table families (
    tenant          bigint not null,
    user_key        bytea  not null,
    grant_key       bytea  not null,
    client_id       text   not null,
    client_counter  bigint not null,
    connection_id   text   not null,
    connection_epoch bigint not null,
    audience        text,
    scope           text   not null,
    session_key     bytea,
    auth_time       bigint not null,
    auth_time_wanted bigint not null,
    provider        text   not null,
    identity_id     text   not null,
    counter         bigint not null,
    generation      bigint not null,
    rotating        bigint not null,
    secret_hash     bytea  not null,
    sealing_key     bigint not null,
    issuer          text   not null,
    request_id      bytea  not null,
    created_at      bigint not null,
    rotated_at      bigint not null,
    last_exchanged_at bigint,
    idle_expires_at bigint,
    expires_at      bigint,
    ended_at        bigint,
    ended_cause     text,
    device          text   not null,
    metadata        text,
    primary key (tenant, user_key, grant_key)
);
-- The families of one session, among the thousands that a person's logins leave for a month. Rotations do not touch it.
create index families_session on families (tenant, user_key, session_key);

-- Codes that were redeemed, by the grant they carry. Kept an hour past `exp`; after a replay until the longest
-- token issued from it is over (`replayed_at` then refuses those tokens).
create table consumed_codes (
    tenant          bigint not null,
    user_key        bytea  not null,
    grant_key       bytea  not null,
    client_id       text   not null,
    request_id      bytea  not null,
    consumed_at     bigint not null,
    keep_until      bigint not null,
    replayed_at     bigint,
    primary key (tenant, user_key, grant_key)
) /*sqlite without rowid */;

-- Other things that happen once: client assertions, tickets, login steps.
create table consumptions (
    tenant          bigint not null,
    kind            text   not null,
    id              bytea  not null,
    consumed_at     bigint not null,
    keep_until      bigint not null,
    primary key (tenant, kind, id)
) /*sqlite without rowid */;

-- Values too large for a sealed code.
create table code_payloads (
    tenant          bigint not null,
    user_key        bytea  not null,
    grant_key       bytea  not null,
    payload         bytea  not null,
    keep_until      bigint not null,
    primary key (tenant, user_key, grant_key)
);

-- Endings -----------------------------------------------------------------------------------------------------

create table endings (
    tenant          bigint not null,
    ending_id       bytea  not null,
    at              bigint not null,
    cause           text   not null,
    user_key        bytea,
    user_id         text,
    session_key     bytea,
    grant_key       bytea,
    client_id       text,
    detail          text   not null,
    primary key (tenant, ending_id)
);
create index endings_user on endings (tenant, user_key, at);

create table feed_lanes (
    lane            bigint not null primary key,
    head            bigint not null
) /*sqlite without rowid */;

-- `kind` and `subject` say what ended; `counter` is the floor the ending raised.
create table feed_entries (
    lane            bigint not null,
    position        bigint not null,
    tenant          bigint not null,
    ending_id       bytea  not null,
    at              bigint not null,
    cause           text   not null,
    kind            text   not null,
    user_key        bytea,
    subject         text,
    audience        text,
    counter         bigint,
    spared          bytea,
    keep_until      bigint not null,
    primary key (lane, position)
);

-- One row an ending, written with it: whom to tell is worked out from it later.
create table fanouts (
    tenant          bigint not null,
    ending_id       bytea  not null,
    created_at      bigint not null,
    expanded_at     bigint,
    primary key (tenant, ending_id)
);
create index fanouts_open on fanouts (tenant, created_at) where expanded_at is null;

create table logs (
    tenant          bigint not null,
    log_id          text   not null,
    at              bigint not null,
    type            text   not null,
    user_id         text,
    client_id       text,
    doc             text   not null,
    primary key (tenant, log_id)
) /*sqlite without rowid */;

insert into tenants (tenant, name, settings, version, created_at) values (1, 'default', '{}', 1, 0);

-- engine: sqlite
insert into feed_lanes (lane, head) values (0, 0);

-- engine: postgres
insert into feed_lanes (lane, head) select n, 0 from generate_series(0, 31) as n;
