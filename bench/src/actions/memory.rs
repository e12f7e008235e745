//! Memory of a tenant: of the process that runs its Actions, and of the server that keeps their packages.

use super::Stage;
use super::bound::Bound;
use crate::browser::Jar;
use crate::failed::Result;
use crate::proc::resident_of;
use crate::progress::Progress;
use crate::wire::Connection;
use crate::world::{Management, Wanted};

/// Logins after which a process is as large as it gets.
const LOGINS: usize = 200;

/// Memory with one Action, in KiB: all of it, and what is of no file.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) bound: Bound,
    /// The server, after so many logins.
    pub(super) server: (u64, u64),
    /// The tenant's process, and the one that is nobody's yet.
    pub(super) worker: Option<(u64, u64)>,
    pub(super) ready: Option<(u64, u64)>,
}

pub(super) async fn measure(stage: &mut Stage, progress: &mut Progress) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for bound in Bound::ALL {
        progress.step(&stage.says(&format!("memory with {}", bound.title())), 8.0 / 3.0);
        stage.bind(bound).await?;
        stage.restart().await?;
        stage.management = Management::open(&stage.curfew.server).await?;
        let person = stage.person().await?;
        let mut connection = Connection::new(&stage.world.server);
        let mut jar = Jar::default();
        stage.world.log_in(&mut connection, &mut jar, Some(&person), Wanted::Api).await?;
        for _ in 0..LOGINS {
            stage.world.log_in(&mut connection, &mut jar, None, Wanted::Api).await?;
        }
        // The tenant's, and the one that stands ready since then.
        let children = stage.children(if bound == Bound::Nothing { 0 } else { 2 }).await?;
        let of = |at: usize| children.get(at).map(|&pid| resident_of(pid)).transpose();
        let server = resident_of(stage.curfew.pid)?;
        lines.push(Line { bound, server, worker: of(0)?, ready: of(1)? });
    }
    stage.bind(Bound::Nothing).await?;
    Ok(lines)
}
