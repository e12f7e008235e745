-- engine: both

-- Who has to hear of an ending, and whether they have.

-- One row a receiver and message. `kind`: logout_token (`receiver` is a client; one row an ending, and a session where
-- the ending names sessions), security_event and event (`receiver` is a stream; what is sent is `event_type` and `body`,
-- JSON). `state`: waiting, confirmed (the receiver said so), dead (it did not, and is not asked any more), superseded (what
-- it would say is no longer right), cancelled (the receiver has no address any more), expired (dead, and not to be retried).
-- Of a logout token `url`, `issuer` and `alg` are for an application that is gone; of one that is there, its present ones
-- are used. `session_key` null: every session of the user below `counter`.
-- `ending_id` null: it tells of a change, which ended nothing.
-- `next_at` is the one mutable time in an index: which deliveries are due has to be found among many that are not.
create table deliveries (
    tenant          bigint not null,
    delivery_id     bytea  not null,
    ending_id       bytea,
    kind            text   not null,
    receiver        text   not null,
    sub             text,
    issuer          text   not null,
    user_key        bytea,
    session_key     bytea,
    counter         bigint,
    url             text,
    alg             text,
    initiator       text,
    event_type      text,
    body            text,
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
create index deliveries_due on deliveries (tenant, receiver, next_at) where state = 'waiting';
create index deliveries_ending on deliveries (tenant, ending_id);
create index deliveries_receiver on deliveries (tenant, receiver, created_at);
create index deliveries_dead on deliveries (tenant, settled_at) where state = 'dead';

-- `scope` says which sessions fell (JSON; null: none); `reached` how far the expansion has
-- come, as a session's key and a client; `untold` names participants that have no address (JSON).
alter table fanouts add column scope text;
alter table fanouts add column reached text;
alter table fanouts add column untold text;

-- What changed, for streams that want to hear of it. Written where it changes; it goes when each of them has its delivery.
create table changes (
    tenant     bigint not null,
    change_id  bytea  not null,
    at         bigint not null,
    issuer     text   not null,
    doc        text   not null,
    primary key (tenant, change_id)
);
create index changes_in_order on changes (tenant, at, change_id);

-- Nobody was to be told of these: no application could be before.
update fanouts set expanded_at = created_at where expanded_at is null;
