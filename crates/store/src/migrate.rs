//! Migrations: numbered files, written once for both engines, applied in order and never changed afterwards.
//!
//! A file holds SQL in PostgreSQL's words. For SQLite `bytea` becomes `blob`, and `/*sqlite … */` (as in
//! `) /*sqlite without rowid */;`) is code there and a comment on PostgreSQL. A line `-- engine: sqlite`,
//! `-- engine: postgres` or `-- engine: both` says for which engine the lines after it are.
//!
//! Two nodes may start at once: each migration's transaction begins with its row in `schema_migrations`, so that
//! the second node waits for the first one's commit and then finds the row there.

use curfew_model::{Failure, Timestamp};

use crate::executor::{Engine, Lane, Store, Tx};
use crate::params;
use crate::statement::rewrite_for_sqlite;

/// One file of `migrations/`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// From 1, without gaps.
    pub number: i64,
    /// The file's name without number and ending.
    pub name: &'static str,
    /// The file.
    pub sql: &'static str,
}

/// Every migration, in order.
pub const MIGRATIONS: &[Migration] = &[
    Migration { number: 1, name: "foundation", sql: include_str!("../migrations/0001_foundation.sql") },
    Migration { number: 2, name: "feed", sql: include_str!("../migrations/0002_feed.sql") },
    Migration { number: 3, name: "deliveries", sql: include_str!("../migrations/0003_deliveries.sql") },
    Migration { number: 4, name: "event_streams", sql: include_str!("../migrations/0004_event_streams.sql") },
    Migration { number: 5, name: "status_lists", sql: include_str!("../migrations/0005_status_lists.sql") },
    Migration { number: 6, name: "signals", sql: include_str!("../migrations/0006_signals.sql") },
    Migration {
        number: 7,
        name: "ending_policies",
        sql: include_str!("../migrations/0007_ending_policies.sql"),
    },
    Migration { number: 8, name: "actions", sql: include_str!("../migrations/0008_actions.sql") },
    Migration { number: 9, name: "action runs", sql: include_str!("../migrations/0009_action_runs.sql") },
];

/// How often a node looks again after another node got ahead of it.
const ROUNDS_MAX: usize = 100;

crate::statements! {
    /// Made outside the numbered files, because it says which of them are applied.
    pub(crate) CREATE = "create table if not exists schema_migrations (
        number bigint not null primary key, name text not null, checksum text not null, applied_at bigint not null
    )";
    /// What is applied.
    pub(crate) LIST = "select number, name, checksum from schema_migrations order by number";
    /// The guard.
    pub(crate) INSERT =
        "insert into schema_migrations (number, name, checksum, applied_at) values ($1, $2, $3, $4)";
}

impl Store {
    /// Brings the schema to this version; `now` is noted beside each migration that it applies.
    ///
    /// Failure: [`Failure::Inconsistent`] when an applied migration is not the one in this binary: it was
    /// changed, or the database belongs to a newer version.
    pub async fn migrate(&self, now: Timestamp) -> Result<(), Failure> {
        self.apply(MIGRATIONS, now).await
    }

    /// As [`migrate`](Self::migrate), with other files: for tests of the rules.
    pub async fn apply(&self, migrations: &'static [Migration], now: Timestamp) -> Result<(), Failure> {
        for _ in 0..ROUNDS_MAX {
            let step = self
                .transact(Lane::Ordinary, (migrations, now), |tx, (migrations, now)| {
                    Box::pin(step(tx, migrations, *now))
                })
                .await;
            match step {
                Ok(true) => return Ok(()),
                // On PostgreSQL also two CREATE TABLE IF NOT EXISTS at once break a uniqueness rule.
                Ok(false) | Err(Failure::Conflict) => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Contention)
    }
}

/// Applies the first migration that is missing. Answers whether none was.
async fn step(tx: &mut Tx, migrations: &[Migration], now: Timestamp) -> Result<bool, Failure> {
    tx.run(&CREATE, params![]).await?;
    let applied = tx.all(&LIST, params![]).await?;
    for (index, row) in applied.iter().enumerate() {
        let (number, name, checksum): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let ours = migrations.get(index);
        if !ours.is_some_and(|ours| ours.number == number && ours.checksum() == checksum) {
            return Err(Failure::Inconsistent {
                table: "schema_migrations",
                column: "checksum",
                id: format!("{number:04}_{name} is not the migration this version knows by that number"),
            });
        }
    }
    let Some(next) = migrations.get(applied.len()) else { return Ok(true) };
    let checksum = next.checksum();
    tx.run(&INSERT, params![next.number, next.name, &checksum, now]).await?;
    tx.script(&next.for_engine(tx.engine())).await?;
    Ok(false)
}

impl Migration {
    /// SHA-256 of the file, in hexadecimal digits.
    pub fn checksum(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.sql.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The lines that are for `engine`, in its words.
    pub fn for_engine(&self, engine: Engine) -> String {
        let mut for_us = true;
        let mut sql = String::with_capacity(self.sql.len());
        for line in self.sql.lines() {
            match line.trim().strip_prefix("-- engine:").map(str::trim) {
                Some("both") => for_us = true,
                Some("sqlite") => for_us = engine == Engine::Sqlite,
                Some("postgres") => for_us = engine == Engine::Postgres,
                _ if for_us => {
                    sql.push_str(line);
                    sql.push('\n');
                }
                _ => {}
            }
        }
        match engine {
            Engine::Postgres => sql,
            Engine::Sqlite => rewrite_for_sqlite(&uncomment(&sql)),
        }
    }
}

/// `/*sqlite … */` loses its marks.
fn uncomment(sql: &str) -> String {
    const MARK: &str = "/*sqlite ";
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let inside = &rest[at + MARK.len()..];
        let end = inside.find("*/").unwrap_or(inside.len());
        out.push_str(&inside[..end]);
        rest = inside.get(end + 2..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_gets_its_lines() {
        let migration = Migration {
            number: 1,
            name: "a",
            sql: "create table a (b bytea) /*sqlite without rowid */;\n\
                  -- engine: sqlite\nselect 'sqlite';\n  -- engine: postgres\nselect 'bytea';\n-- engine: both\nselect 3;\n",
        };
        assert_eq!(
            migration.for_engine(Engine::Sqlite),
            "create table a (b blob) without rowid ;\nselect 'sqlite';\nselect 3;\n"
        );
        assert_eq!(
            migration.for_engine(Engine::Postgres),
            "create table a (b bytea) /*sqlite without rowid */;\nselect 'bytea';\nselect 3;\n"
        );
    }

    #[test]
    fn numbers_run_without_gaps() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.number, index as i64 + 1, "{}", migration.name);
        }
    }
}
