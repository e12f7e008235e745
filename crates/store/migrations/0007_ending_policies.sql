-- engine: both

-- Which artefacts fall for which cause, where an operator has chosen it: what the documents of the tenant (`client_id`
-- empty) and of clients say under `ending_policies`, a row a choice, so that an ending reads it in the statement that
-- decides. `artefact`: refresh_tokens, access_tokens, sessions; `choice`: keep, revoke, end.
create table ending_policies (
    tenant          bigint not null,
    cause           text   not null,
    client_id       text   not null,
    artefact        text   not null,
    choice          text   not null,
    primary key (tenant, cause, client_id, artefact)
) /*sqlite without rowid */;

-- What of an ended session lives on where a policy has decided it: the clients, by kind of token (JSON). Null: as the
-- cause has it.
alter table sessions add column spares text;
