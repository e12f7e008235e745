-- engine: both

-- Who has to hear of an ending, and whether they have.

-- One row a receiver and ending, and a session where the ending names sessions. `state`: waiting, confirmed (the
-- receiver said so), dead (it did not, and is not asked any more), superseded (what it would say is no longer right),
-- cancelled (the application has no address any more), expired (dead, and not to be retried).
-- `url`, `issuer` and `alg` are for an application that is gone; of one that is there, its present ones are used.
-- `session_key` null: every session of the user below `counter`.
-- `next_at` is the one mutable time in an index: which deliveries are due has to be found among many that are not.
create table deliveries (
    tenant          bigint not null,
    delivery_id     bytea  not null,
    ending_id       bytea  not null,
    kind            text   not null,
    client_id       text   not null,
    user_key        bytea  not null,
    session_key     bytea,
    counter         bigint,
    sub             text,
    issuer          text   not null,
    url             text   not null,
    alg             text   not null,
    initiator       text   not null,
    state           text   not null,
    attempts        bigint not null,
    next_at         bigint not null,
    leased_until    bigint,
    retry_until     bigint not null,
    last_status     bigint,
    last_error      text,
    created_at      bigint not null,
    settled_at      bigint,
    primary key (tenant, delivery_id)
);
create index deliveries_due on deliveries (tenant, client_id, next_at) where state = 'waiting';
create index deliveries_ending on deliveries (tenant, ending_id);
create index deliveries_client on deliveries (tenant, client_id, created_at);
create index deliveries_dead on deliveries (tenant, settled_at) where state = 'dead';

-- `scope` says which sessions fell (JSON; null: none, and then nobody is to be told); `reached` how far the expansion has
-- come, as a session's key and a client; `untold` names participants that have no address (JSON).
alter table fanouts add column scope text;
alter table fanouts add column reached text;
alter table fanouts add column untold text;

-- Nobody was to be told of these: no application could be before.
update fanouts set expanded_at = created_at where expanded_at is null;
