-- engine: both

-- Who reads the feed, and who has heard.

-- The endings of a tenant by their instants, for lists.
create index endings_at on endings (tenant, at, ending_id);

-- One row a node, written now and then while guards are connected to it. A node that vanished says by this until when
-- its guards may have trusted what they knew: `seen_at` and the longest of their leases.
create table feed_nodes (
    node            text   not null primary key,
    seen_at         bigint not null,
    guards          bigint not null,
    lease_seconds   bigint not null
) /*sqlite without rowid */;

-- One row an ending and node: which of that node's guards acknowledged it, and which let their lease run out.
create table ending_guards (
    tenant          bigint not null,
    ending_id       bytea  not null,
    node            text   not null,
    settled_at      bigint not null,
    doc             text   not null,
    primary key (tenant, ending_id, node)
);
