//! Actions, in this process and in a worker.

// `cfg(test)` is what tells clippy that this is test code.
#[cfg(test)]
mod api;
#[cfg(test)]
mod bytecode;
#[cfg(test)]
mod confinement;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod npm;
#[cfg(test)]
mod packages;
#[cfg(test)]
mod pool;
#[cfg(test)]
mod pretence;
#[cfg(test)]
mod runtime;
#[cfg(test)]
mod support;
#[cfg(test)]
mod types;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod walls;
