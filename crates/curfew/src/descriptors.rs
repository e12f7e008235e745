//! How many files the process may hold open: each connection is one of them.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is not for clients: the database's connections or files, those going out, the log, the runtime's own.
const OTHERS: u64 = 256;
/// Below this many connections an operator should know.
const FEW: usize = 1024;

/// Raises the number of files that the process may open as far as it may itself, and answers it; `None` is without end.
/// Shells and service managers keep the soft limit at 1,024 for programs that use `select(2)`, which this is none of.
pub fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::info!(%error, "the limit of open files stays as it is");
            limit.current
        }
    }
}

/// How many connections a process that may open `files` serves at once, at most `wanted`. The rest of its files is for
/// everything else; where there are few of them, half.
pub fn connections_max(files: Option<u64>, wanted: usize) -> usize {
    let Some(files) = files else { return wanted };
    let room = usize::try_from(files.saturating_sub(OTHERS).max(files / 2)).unwrap_or(wanted);
    let most = room.clamp(1, wanted);
    if most < FEW {
        tracing::warn!(
            "the process may open {files} files, so it serves {most} connections at once: see ulimit -n"
        );
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_rises_to_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        assert_eq!(raise(), hard);
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }

    #[test]
    fn connections_leave_room_for_everything_else() {
        for (files, most) in [(None, 8192), (Some(1 << 20), 8192), (Some(8448), 8192), (Some(1024), 768)] {
            assert_eq!(connections_max(files, 8192), most, "{files:?}");
        }
        assert_eq!(connections_max(Some(300), 8192), 150);
        assert_eq!(connections_max(Some(0), 8192), 1, "a server that takes nobody would say nothing");
    }
}
