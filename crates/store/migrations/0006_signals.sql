-- engine: both

-- Streams of the Shared Signals Framework, and whom their receivers want to hear of.

-- `doc` is what the receiver configured, but the header its endpoint wants, which is sealed in `authorization_header`. `issuer`
-- is in whose name its events are. `status`: enabled, paused, disabled. `subjects` counts the stream's rows in
-- signal_subjects. `active_at` is when its receiver was last heard of, to the hour.
create table signal_streams (
    tenant               bigint not null,
    stream_id            text   not null,
    client_id            text   not null,
    issuer               text   not null,
    doc                  text   not null,
    authorization_header text,
    status               text   not null,
    reason               text,
    subjects             bigint not null,
    created_at           bigint not null,
    updated_at           bigint not null,
    active_at            bigint not null,
    verified_at          bigint,
    primary key (tenant, stream_id)
);
create index signal_streams_client on signal_streams (tenant, client_id);

-- Whom a stream treats otherwise than its default. `subject_hash` is of the subject as it was named, `user_key` the one
-- person whom it named then, if it did.
create table signal_subjects (
    tenant       bigint not null,
    stream_id    text   not null,
    subject_hash bytea  not null,
    user_key     bytea,
    doc          text   not null,
    created_at   bigint not null,
    primary key (tenant, stream_id, subject_hash)
);
create index signal_subjects_user on signal_subjects (tenant, stream_id, user_key) where user_key is not null;

-- What waits for a stream: in order, and of one person.
create index deliveries_signals on deliveries (tenant, receiver, created_at, delivery_id)
    where state = 'waiting' and kind = 'security_event';
create index deliveries_signals_of on deliveries (tenant, receiver, sub)
    where state = 'waiting' and kind = 'security_event';
