//! What the kernel says about processes and the machine (`proc(5)`), and which core a process runs on.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::failed::{Failed, Result, While};

/// Processor time of a process with all its threads, also those that have ended. The kernel counts it exactly and
/// shows it in ticks of 10 ms.
pub(crate) fn cpu_of(pid: i32) -> Result<Duration> {
    let stat = Stat::read(pid).ok_or_else(|| Failed(format!("process {pid} is gone")))?;
    Ok(ticks(stat.own))
}

/// Processor time of a process and its children, living and ended: all of PostgreSQL.
pub(crate) fn cpu_of_tree(pid: i32) -> Result<Duration> {
    let root = Stat::read(pid).ok_or_else(|| Failed(format!("process {pid} is gone")))?;
    let living: u64 =
        processes().into_iter().filter(|stat| stat.parent == pid).map(|stat| stat.own + stat.reaped).sum();
    Ok(ticks(root.own + root.reaped + living))
}

/// The children of a process that live, the oldest first.
pub(crate) fn children_of(pid: i32) -> Vec<i32> {
    let mut children: Vec<Stat> = processes().into_iter().filter(|stat| stat.parent == pid).collect();
    children.sort_by_key(|stat| (stat.started, stat.pid));
    children.into_iter().map(|stat| stat.pid).collect()
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(to_f64(count) / to_f64(rustix::param::clock_ticks_per_second()))
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

struct Stat {
    pid: i32,
    parent: i32,
    /// Ticks in user mode and in the kernel.
    own: u64,
    /// The same of children that were waited for.
    reaped: u64,
    /// When it was started, in ticks since the machine was.
    started: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name, in parentheses, may hold anything; the fields behind it begin with the third.
    fn parse(pid: i32, line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            pid,
            parent: i32::try_from(number(4)?).ok()?,
            own: number(14)? + number(15)?,
            reaped: number(16)? + number(17)?,
            started: number(22)?,
        })
    }
}

fn processes() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Stat::read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Pages in memory, shared ones counted whole.
    pub(crate) rss_kib: u64,
    /// Pages in memory, shared ones divided among those who share them.
    pub(crate) pss_kib: u64,
}

/// Memory of a process now.
pub(crate) fn memory_of(pid: i32) -> Result<Memory> {
    let rollup =
        fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).doing("reading the memory of the server")?;
    Ok(Memory { rss_kib: kib(&rollup, "Rss:"), pss_kib: kib(&rollup, "Pss:") })
}

/// Memory of a process that lets nobody look into it, in KiB: all of it, and what is its own alone (not the program's file).
pub(crate) fn resident_of(pid: i32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).doing("reading the memory of a worker")?;
    Ok((kib(&status, "VmRSS:"), kib(&status, "RssAnon:")))
}

fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn one_core(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

/// Keeps this thread, and the threads that it starts from now on, on one core.
pub(crate) fn pin_this_thread(core: usize) -> Result<()> {
    sched_setaffinity(None, &one_core(core)).doing(&format!("moving to core {core}"))
}

/// Starts a program on one core, or on all. The affinity is set on a thread of its own before the program begins,
/// so that the program sees one core from its first instruction and sizes its pools for it.
pub(crate) fn spawn_on(core: Option<usize>, mut command: Command) -> Result<Child> {
    let started = std::thread::spawn(move || -> Result<Child> {
        match core {
            Some(core) => pin_this_thread(core)?,
            None => sched_setaffinity(None, &all_cores()).doing("leaving the core")?,
        }
        command.spawn().doing(&format!("starting {}", command.get_program().display()))
    });
    started.join().unwrap_or_else(|_| Err(Failed("the starting thread panicked".to_owned())))
}

fn all_cores() -> CpuSet {
    let mut set = CpuSet::new();
    for core in 0..CpuSet::MAX_CPU {
        set.set(core);
    }
    set
}

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    sched_getaffinity(None).map_or(1, |set| set.count() as usize)
}

/// Moves a process and its children to one core; those that it starts later inherit it.
pub(crate) fn pin_tree(pid: i32, core: usize) -> Result<()> {
    let children = processes().into_iter().filter(|stat| stat.parent == pid).map(|stat| stat.pid);
    for pid in std::iter::once(pid).chain(children) {
        sched_setaffinity(Pid::from_raw(pid), &one_core(core)).doing("moving PostgreSQL to its core")?;
    }
    Ok(())
}

/// Where the measurements were made.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// As the processor calls itself.
    pub(crate) processor: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// Memory in GiB.
    pub(crate) memory_gib: u64,
    /// Kernel release.
    pub(crate) kernel: String,
    /// Distribution.
    pub(crate) system: String,
    /// File system under the databases.
    pub(crate) file_system: String,
}

impl Machine {
    /// This machine, with databases in `folder`.
    pub(crate) fn read(folder: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| Some(line.split_once([':', '='])?.1.trim().trim_matches('"').to_owned()))
        };
        Self {
            processor: value(&text("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: cores(),
            memory_gib: (kib(&text("/proc/meminfo"), "MemTotal:") + (1 << 19)) >> 20,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: value(&text("/etc/os-release"), "PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
            file_system: file_system_of(&text("/proc/self/mounts"), folder),
        }
    }
}

/// The type of the mount that `folder` is on: the longest mount point that is its beginning.
fn file_system_of(mounts: &str, folder: &Path) -> String {
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| folder.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind)| kind.to_owned())
}

/// Whole-machine times, to say how much of the run others took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    /// The counters now.
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let first = text.lines().next().unwrap_or_default();
        let times: Vec<u64> = first.split_whitespace().skip(1).filter_map(|time| time.parse().ok()).collect();
        Self { stolen: times.get(7).copied().unwrap_or(0), all: times.iter().take(8).sum() }
    }

    /// Share of the time since then that the host gave to other machines, in percent.
    pub(crate) fn percent_since(self) -> f64 {
        let now = Self::read();
        100.0 * to_f64(now.stolen - self.stolen) / to_f64((now.all - self.all).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "7 (a ) b) S 3 7 7 0 -1 4194304 100 0 0 0 11 5 13 17 20 0 4 0 100 1 1";
        let stat = Stat::parse(7, line).unwrap();
        assert_eq!((stat.parent, stat.own, stat.reaped, stat.started), (3, 16, 30, 100));
    }

    #[test]
    fn children_are_found_in_the_order_in_which_they_were_started() {
        let own = i32::try_from(std::process::id()).unwrap();
        let mut started: Vec<Child> =
            (0..2).map(|_| Command::new("sleep").arg("60").spawn().unwrap()).collect();
        let pids: Vec<i32> = started.iter().map(|child| i32::try_from(child.id()).unwrap()).collect();
        let found: Vec<i32> = children_of(own).into_iter().filter(|pid| pids.contains(pid)).collect();
        assert_eq!(found, pids);
        let (resident, alone) = resident_of(pids[0]).unwrap();
        assert!(resident >= alone && resident > 0);
        for child in &mut started {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn this_process_uses_processor_time_and_memory() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = cpu_of(own).unwrap();
        let mut sum = 0_u64;
        while cpu_of(own).unwrap() <= before {
            sum = sum.wrapping_mul(31).wrapping_add(1);
        }
        assert!(std::hint::black_box(sum) > 0);
        let memory = memory_of(own).unwrap();
        assert!(memory.rss_kib >= memory.pss_kib && memory.pss_kib > 0);
    }

    #[test]
    fn the_innermost_mount_names_the_file_system() {
        let mounts = "disk / ext4 rw 0 0\nshm /tmp-of-none tmpfs rw 0 0\nproc /proc proc rw 0 0\n";
        assert_eq!(file_system_of(mounts, Path::new("/proc/self")), "proc");
        assert_eq!(file_system_of(mounts, Path::new("/")), "ext4");
    }
}
