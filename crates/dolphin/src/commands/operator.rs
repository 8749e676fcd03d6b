//! What operators order in system memory, for every machine of a deployment.

use std::time::Duration;

use ::memory::{MemoryEnvironment, MemoryError, SystemMemory, schema};
use market::Nanos;
use node::config::Config;
use node::environment::Environment;
use node::error::Failure;
use node::memory_link;

/// Longest wait for memory to answer.
const READY: Duration = Duration::from_secs(3);

/// A deployment's memory, opened beside whatever runs.
pub struct Operator {
    runtime: tokio::runtime::Runtime,
    memory: SystemMemory,
    /// Whose.
    pub deployment: schema::Deployment,
    /// Time to live of its lease.
    pub ttl: Duration,
}

impl Operator {
    /// The memory of a configuration. `None`: it ends with each run, so there is nothing to order in it.
    pub fn of(config: &Config, venue: Option<&str>) -> Result<Option<Self>, Failure> {
        let Ok(backend) = memory_link::lasting_backend(config, venue, &Environment::system()) else {
            return Ok(None);
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::unavailable(format!("cannot start: {e}")))?;
        let opened = runtime.block_on(async {
            let memory = SystemMemory::open(backend, &MemoryEnvironment::system())?;
            memory.wait_ready(READY).await.map(|()| memory)
        });
        let memory = opened.map_err(|e| Failure::unavailable(format!("system memory: {e}")))?;
        let deployment = config.memory.deployment.into();
        Ok(Some(Self { runtime, memory, deployment, ttl: Duration::from_millis(config.roles.lease_ttl_ms) }))
    }

    /// Does something with it.
    pub fn with<T>(
        &self,
        work: impl AsyncFnOnce(&SystemMemory) -> Result<T, MemoryError>,
    ) -> Result<T, Failure> {
        let done = self.runtime.block_on(work(&self.memory));
        done.map_err(|e| Failure::unavailable(format!("system memory: {e}")))
    }

    /// A value of the control map, if it can be had.
    pub fn told(&self, key: &str) -> Option<serde_json::Value> {
        let text = self.runtime.block_on(self.memory.get(schema::CONTROL, key)).ok()??;
        serde_json::from_str(&text).ok()
    }

    /// Lets go of it.
    pub fn close(self) {
        self.runtime.block_on(self.memory.close(READY));
    }
}

/// Who orders: the user and the machine.
pub fn by() -> String {
    let user =
        std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "somebody".into());
    format!("{user}@{}", Environment::system().surroundings.host_name())
}

/// Now, UTC.
pub fn now() -> Nanos {
    Nanos(Environment::system().clock.wall_ns())
}

/// A random number for an order.
pub fn id() -> u64 {
    Environment::system().entropy.next_u64()
}
