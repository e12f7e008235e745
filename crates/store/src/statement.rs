//! Statements: written once, in the words both engines understand.

use std::fmt;
use std::sync::OnceLock;

/// One SQL statement with its name.
///
/// It is written with `$1`, `$2` … in the subset both engines understand. For SQLite each `$n` becomes `?n` and
/// the type name `bytea` becomes `blob` (in casts); neither inside quotes or comments.
pub struct Statement {
    /// What errors and logs call it.
    pub name: &'static str,
    /// As PostgreSQL gets it.
    pub postgres: &'static str,
    /// As it is written for SQLite, before the rewriting.
    pub sqlite: &'static str,
    for_sqlite: OnceLock<String>,
}

impl Statement {
    /// A statement; [`statements!`](crate::statements) writes this.
    pub const fn new(name: &'static str, postgres: &'static str, sqlite: &'static str) -> Self {
        Self { name, postgres, sqlite, for_sqlite: OnceLock::new() }
    }

    /// As SQLite gets it; rewritten at the first call.
    pub(crate) fn for_sqlite(&self) -> &str {
        self.for_sqlite.get_or_init(|| rewrite_for_sqlite(self.sqlite))
    }

    /// What PostgreSQL's and SQLite's transactions are steered with, which is the executor's business alone.
    pub(crate) fn steers_transactions(&self) -> bool {
        const WORDS: [&str; 8] =
            ["abort", "begin", "commit", "end", "release", "rollback", "savepoint", "start"];
        first_word(self.postgres, &WORDS) || first_word(self.sqlite, &WORDS)
    }

    /// Whether it can stand in a read.
    pub(crate) fn reads(&self) -> bool {
        const WORDS: [&str; 4] = ["select", "with", "values", "explain"];
        first_word(self.postgres, &WORDS) && first_word(self.sqlite, &WORDS)
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

fn first_word(sql: &str, words: &[&str]) -> bool {
    let word = sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
    words.iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Declares a module's statements.
///
/// ```
/// curfew_store::statements! {
///     /// The name of a tenant.
///     pub(crate) GET_NAME = "select name from tenants where id = $1";
///     /// Differs by engine.
///     pub(crate) SWEEP = {
///         postgres: "delete from old where ctid in (select ctid from old limit 100)",
///         sqlite: "delete from old where rowid in (select rowid from old limit 100)",
///     };
///     /// In pieces, which other statements may share.
///     pub(crate) COUNT = ("select count(*) from ", "old");
/// }
/// assert_eq!(ALL.len(), 3);
/// ```
///
/// makes one `static` [`Statement`] of each, and `ALL`, the list of them.
#[macro_export]
macro_rules! statements {
    ($($(#[$doc:meta])* $vis:vis $name:ident = $sql:tt;)*) => {
        $($(#[$doc])* $vis static $name: $crate::Statement = $crate::statement_of!($name, $sql);)*

        /// Every statement of this module.
        pub(crate) static ALL: &[&$crate::Statement] = &[$(&$name),*];
    };
}

/// One entry of [`statements!`](crate::statements).
#[doc(hidden)]
#[macro_export]
macro_rules! statement_of {
    ($name:ident, { postgres: $postgres:expr, sqlite: $sqlite:expr $(,)? }) => {
        $crate::Statement::new(stringify!($name), $postgres, $sqlite)
    };
    ($name:ident, ($($piece:tt)+)) => {
        $crate::Statement::new(stringify!($name), concat!($($piece)+), concat!($($piece)+))
    };
    ($name:ident, $sql:literal) => {
        $crate::Statement::new(stringify!($name), $sql, $sql)
    };
}

/// `$n` becomes `?n` and the word `bytea` becomes `blob`, outside quotes and comments.
pub(crate) fn rewrite_for_sqlite(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (piece, replacement) = match first {
            '\'' | '"' => (quoted(rest, first), None),
            '-' if rest.starts_with("--") => (until(rest, "\n"), None),
            '/' if rest.starts_with("/*") => (until(rest, "*/"), None),
            '$' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => (&rest[..1], Some("?")),
            c if c.is_ascii_alphabetic() || c == '_' => {
                let word = &rest
                    [..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())];
                (word, word.eq_ignore_ascii_case("bytea").then_some("blob"))
            }
            c => (&rest[..c.len_utf8()], None),
        };
        out.push_str(replacement.unwrap_or(piece));
        rest = &rest[piece.len()..];
    }
    out
}

/// The quoted piece at the start. A doubled quote reads as two pieces side by side, which comes to the same.
fn quoted(sql: &str, quote: char) -> &str {
    sql[1..].find(quote).map_or(sql, |end| &sql[..end + 2])
}

/// From the start to the end of `mark`, or everything.
fn until<'a>(sql: &'a str, mark: &str) -> &'a str {
    sql.find(mark).map_or(sql, |at| &sql[..at + mark.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_types_become_sqlites() {
        for (written, expected) in [
            ("select a from t where b = $1 and c=$12", "select a from t where b = ?1 and c=?12"),
            ("select '$1', \"$2\", 'it''s $3' || $4", "select '$1', \"$2\", 'it''s $3' || ?4"),
            ("select 1 -- $1\n, $2 /* $3 */", "select 1 -- $1\n, ?2 /* $3 */"),
            ("select cast($1 as bytea), bytea_x, 'bytea'", "select cast(?1 as blob), bytea_x, 'bytea'"),
            ("select json_extract(a, '$.b'), é", "select json_extract(a, '$.b'), é"),
            ("select 'open $1", "select 'open $1"),
        ] {
            assert_eq!(rewrite_for_sqlite(written), expected);
        }
    }

    #[test]
    fn steering_and_reading_are_told_by_the_first_word() {
        let steers = |sql| Statement::new("T", sql, sql).steers_transactions();
        assert!(steers("ROLLBACK") && steers(" commit;") && steers("savepoint a"));
        assert!(!steers("select begin from t") && !steers("update t set a = 1"));
        let reads = |sql| Statement::new("T", sql, sql).reads();
        assert!(reads("\n  with a as (select 1) select * from a") && reads("SELECT 1"));
        assert!(!reads("update t set a = 1 returning a"));
    }
}
