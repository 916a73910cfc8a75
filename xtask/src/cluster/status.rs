//! What runs, for a person and for a shell.

use super::lifecycle::Cluster;
use super::probe;
use super::servers::Service;

impl Cluster {
    /// A table with a line for each server.
    pub(super) fn status(&self) -> String {
        let mut table = format!(
            "{:<9} {:<10} {:<10} {:>8} {:>9} {:>6}  version\n",
            "service", "server", "state", "pid", "memory", "port"
        );
        let mut total = 0;
        for service in Service::ALL {
            let name = format!("{service:?}").to_lowercase();
            for server in service.servers() {
                let port = server.ports().first().map_or(0, |port| self.ports.of(*port));
                let (mut state, mut pid, mut memory, mut reason) =
                    ("down", String::new(), String::new(), String::new());
                if let Some(process) = self.home.living(*server) {
                    pid = process.pid().to_string();
                    total += process.memory_mib();
                    memory = format!("{} MiB", process.memory_mib());
                    state = "up";
                    if let Err(error) = probe::ready(*server, &self.ports) {
                        state = "not ready";
                        reason = format!("  {error:#}");
                    }
                }
                let (server, version) = (server.name(), server.library().version());
                table += &format!(
                    "{name:<9} {server:<10} {state:<10} {pid:>8} {memory:>9} {port:>6}  \
                     {version}{reason}\n"
                );
            }
        }
        table
            + &format!(
                "{:<9} {:<10} {:<10} {:>8} {:>9}\n",
                "all",
                "",
                "",
                "",
                format!("{total} MiB")
            )
    }

    /// A line for a shell to evaluate: where the services are that are up.
    pub(super) fn export(&self) -> Option<String> {
        let is_up = |service: &Service| {
            service.servers().iter().all(|server| {
                self.home.living(*server).is_some() && probe::ready(*server, &self.ports).is_ok()
            })
        };
        let up: Vec<Service> = Service::ALL.into_iter().filter(is_up).collect();
        let words = self.variables(&up);
        let words: Vec<_> = words.iter().map(|(name, value)| format!("{name}='{value}'")).collect();
        (!up.is_empty()).then(|| format!("export {}", words.join(" ")))
    }

    /// The variables by which tests find these services, and by which they stop and start them:
    /// this program, and the offset of the ports.
    pub(super) fn variables(&self, services: &[Service]) -> Vec<(&'static str, String)> {
        let mut variables: Vec<_> =
            services.iter().map(|service| service.variable(&self.ports)).collect();
        if let Ok(program) = std::env::current_exe() {
            variables.push(("TIDEMILL_TEST_XTASK", program.display().to_string()));
        }
        variables.push(("TIDEMILL_TEST_PORT_OFFSET", self.offset.to_string()));
        variables
    }
}
