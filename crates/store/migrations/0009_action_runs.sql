-- engine: both

-- Actions that are to run after what they are about: a row is written in its transaction, and goes when they have run. `doc` is the
-- event, and who it is about (JSON). `due_at` lies behind a lease while somebody runs them; `attempts` counts the leases.
create table action_runs (
    tenant      bigint not null,
    run_id      text   not null,
    trigger_id  text   not null,
    doc         text   not null,
    attempts    bigint not null,
    due_at      bigint not null,
    created_at  bigint not null,
    primary key (tenant, run_id)
);
create index action_runs_due on action_runs (tenant, due_at);
