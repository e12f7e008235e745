-- engine: both

-- Actions as they are edited. `doc` is code, dependencies, modules, runtime and triggers (JSON); `secrets` are names, times and
-- sealed values (JSON). `revision` moves with whatever a version is made of. `status` is how far the build of that revision
-- is: pending, building, packaged, built, retrying, failed; `build_at` when it is due (behind a lease while somebody works on it),
-- null when nothing is. `errors` says why it failed (JSON), `packages` what it stands on. `deploy`: a version is made of it as soon as
-- it is built. `last_number` is that of the newest version.
create table actions (
    tenant            bigint not null,
    action_id         text   not null,
    name              text   not null,
    doc               text   not null,
    secrets           text   not null,
    revision          bigint not null,
    status            text   not null,
    build_at          bigint,
    attempts          bigint not null,
    errors            text,
    packages          text,
    deploy            bigint not null,
    built_at          bigint,
    deployed_version  text,
    deployed_revision bigint,
    last_number       bigint not null,
    created_at        bigint not null,
    updated_at        bigint not null,
    primary key (tenant, action_id)
);
create unique index actions_name on actions (tenant, name);
create index actions_build on actions (tenant, build_at) where build_at is not null;

-- What was deployed, never changed again.
create table action_versions (
    tenant      bigint not null,
    version_id  text   not null,
    action_id   text   not null,
    number      bigint not null,
    doc         text   not null,
    secrets     text   not null,
    packages    text,
    built_at    bigint not null,
    created_at  bigint not null,
    primary key (tenant, version_id)
);
create unique index action_versions_action on action_versions (tenant, action_id, number);

-- Which Actions run at a trigger, in order from 0.
create table action_bindings (
    tenant        bigint not null,
    trigger_id    text   not null,
    position      bigint not null,
    binding_id    text   not null,
    action_id     text   not null,
    display_name  text   not null,
    created_at    bigint not null,
    updated_at    bigint not null,
    primary key (tenant, trigger_id, position)
);
create unique index action_bindings_action on action_bindings (tenant, action_id, trigger_id);

-- Code that Actions share: as it is edited, and as it was published.
create table action_modules (
    tenant          bigint not null,
    module_id       text   not null,
    name            text   not null,
    doc             text   not null,
    revision        bigint not null,
    latest_version  text,
    latest_revision bigint,
    last_number     bigint not null,
    created_at      bigint not null,
    updated_at      bigint not null,
    primary key (tenant, module_id)
);
create unique index action_modules_name on action_modules (tenant, name);
create table action_module_versions (
    tenant      bigint not null,
    version_id  text   not null,
    module_id   text   not null,
    number      bigint not null,
    doc         text   not null,
    created_at  bigint not null,
    primary key (tenant, version_id)
);
create unique index action_module_versions_module on action_module_versions (tenant, module_id, number);

-- What dependencies were resolved to, by digest. `used_at` is when a build last came to it.
create table action_packages (
    tenant   bigint not null,
    digest   text   not null,
    bytes    bytea  not null,
    used_at  bigint not null,
    primary key (tenant, digest)
);

-- What that compiles to for one version of the engine, with the server's MAC.
create table action_bytecode (
    tenant      bigint not null,
    digest      text   not null,
    engine      text   not null,
    bytes       bytea  not null,
    mac         bytea  not null,
    created_at  bigint not null,
    primary key (tenant, digest, engine)
);

-- What ran. `execution_id` begins with the instant, so that ids are in the order of time. `doc` is what each Action did (JSON).
create table action_executions (
    tenant        bigint not null,
    execution_id  text   not null,
    trigger_id    text   not null,
    status        text   not null,
    user_id       text,
    client_id     text,
    doc           text   not null,
    created_at    bigint not null,
    updated_at    bigint not null,
    primary key (tenant, execution_id)
);
