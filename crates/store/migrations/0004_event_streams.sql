-- engine: both

-- Webhooks that hear of what changes and of what ends. `doc` is the stream as it is answered (JSON), without secrets:
-- `signing_secret` is what its messages are signed with, `previous_secret` what they are signed with as well until
-- `previous_until`, `authorization_secret` what its requests authenticate themselves with. All three are sealed.
create table event_streams (
    tenant                bigint not null,
    stream_id             text   not null,
    doc                   text   not null,
    enabled               bigint not null,
    signing_secret        text   not null,
    previous_secret       text,
    previous_until        bigint,
    authorization_secret  text   not null,
    created_at            bigint not null,
    updated_at            bigint not null,
    primary key (tenant, stream_id)
);

-- How it went, by the hour in which it began (microseconds): deliveries that were confirmed, deliveries that were given
-- up, and tries that confirmed nothing.
create table event_stream_hours (
    tenant     bigint not null,
    stream_id  text   not null,
    hour       bigint not null,
    confirmed  bigint not null,
    dead       bigint not null,
    failed     bigint not null,
    primary key (tenant, stream_id, hour)
);

-- The tries of a delivery to an event stream, the newest last (JSON).
alter table deliveries add column tries text;
create index deliveries_dead_of_receiver on deliveries (tenant, receiver, created_at, delivery_id) where state = 'dead';
