//! Starting servers, waiting until they are ready, stopping them.

use super::home::Home;
use super::java::Java;
use super::ports::{Port, Ports};
use super::process::Process;
use super::servers::{STAGES, Server, Service};
use super::{fetch, http, probe};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to stop before it is killed.
const GRACE: Duration = Duration::from_secs(30);

/// Between two looks at a server that is starting or stopping.
const PAUSE: Duration = Duration::from_millis(200);

/// How many lines of its log are shown when a server does not start.
const LOG_LINES: usize = 30;

pub(super) struct Cluster {
    pub(super) home: Home,
    pub(super) ports: Ports,
    pub(super) offset: u16,
}

impl Cluster {
    /// The cluster as it was started last, or as it would be started.
    pub(super) fn open(offset: u16) -> Result<Cluster> {
        let home = Home::of(offset)?;
        let ports = match home.recorded_ports() {
            Some(ports) => ports,
            None => wanted_ports(offset)?,
        };
        Ok(Cluster { home, ports, offset })
    }

    /// Starts what does not run, and waits until all of it is ready. What it starts is added to
    /// `started` one by one, so that the caller knows of it after an error too.
    pub(super) fn up(
        &mut self,
        services: &[Service],
        patience: Duration,
        started: &mut Vec<Server>,
    ) -> Result<()> {
        let java = Java::find()?;
        let _lock = self.home.lock()?;
        let servers = servers_of(&Service::with_needed(services));
        let absent: Vec<Server> =
            servers.iter().copied().filter(|server| self.home.living(*server).is_none()).collect();
        self.agree_on_ports()?;
        self.check_ports(&absent)?;
        for server in &absent {
            fetch::fetch(server.library(), self.home.libraries(), &java)?;
        }
        self.home.configure(&self.ports)?;
        for stage in STAGES {
            let start = Instant::now();
            for server in stage.iter().filter(|server| absent.contains(server)) {
                self.format(*server, &java)?;
                self.spawn(*server, &java)?;
                started.push(*server);
            }
            let mut waiting: Vec<Server> = stage.to_vec();
            waiting.retain(|server| servers.contains(server));
            self.wait_until_ready(waiting, &java, started, start, patience)?;
        }
        if servers.contains(&Server::NameNode) {
            self.make_directory(patience)?;
        }
        Ok(())
    }

    /// Stops these services and those that need them; all, if none is named.
    pub(super) fn down(&self, services: &[Service], purge: bool) -> Result<()> {
        let _lock = self.home.lock()?;
        self.stop(&servers_of(&Service::with_dependents(services)));
        if purge {
            self.home.purge()?;
        }
        Ok(())
    }

    /// Stops servers, those first that need others.
    pub(super) fn stop(&self, servers: &[Server]) {
        for stage in STAGES.iter().rev() {
            let start = Instant::now();
            let stage = stage.iter().filter(|server| servers.contains(server));
            let mut running: Vec<(Server, Process)> = stage
                .filter_map(|server| self.home.living(*server).map(|process| (*server, process)))
                .collect();
            for (_, process) in &running {
                process.signal(Signal::TERM);
            }
            while !running.is_empty() {
                let late = start.elapsed() > GRACE;
                running.retain(|(server, process)| {
                    if process.is_alive() {
                        if late {
                            process.signal(Signal::KILL);
                        }
                        return true;
                    }
                    let how = if late { "did not stop, was killed" } else { "stopped" };
                    let seconds = start.elapsed().as_secs_f64();
                    eprintln!("{:<9} {how} after {seconds:.1} s", server.name());
                    false
                });
                std::thread::sleep(PAUSE);
            }
        }
        for server in servers {
            // One that is not there is as good.
            let _ = std::fs::remove_file(self.home.pid_file(*server));
        }
    }

    /// Servers find one another by their ports: while one runs, the others start with the same.
    fn agree_on_ports(&mut self) -> Result<()> {
        let wanted = wanted_ports(self.offset)?;
        let runs = STAGES.concat().into_iter().any(|server| self.home.living(server).is_some());
        if let Some(recorded) = self.home.recorded_ports().filter(|_| runs) {
            let differences = wanted.differences(&recorded);
            ensure!(
                differences.is_empty(),
                "the cluster runs with other ports ({}): `cargo xtask cluster down` first",
                differences.join("; ")
            );
        }
        self.ports = wanted;
        Ok(())
    }

    fn check_ports(&self, servers: &[Server]) -> Result<()> {
        let mut taken = String::new();
        for server in servers {
            for port in server.ports().iter().filter(|port| !self.ports.is_free(**port)) {
                let (number, variable) = (self.ports.of(*port), port.variable());
                taken += &format!("\n  {}: port {number} ({variable})", server.name());
            }
        }
        ensure!(
            taken.is_empty(),
            "ports are taken by other programs:{taken}\n\
             stop those, move a port by its variable, or all of them by `--port-offset 100`"
        );
        Ok(())
    }

    /// Makes the storage that a server starts from, the first time.
    fn format(&self, server: Server, java: &Java) -> Result<()> {
        let Some((directory, main)) = server.format(&self.home.conf(server.conf())) else {
            return Ok(());
        };
        let directory = self.home.data(directory);
        let mark = directory.join("formatted");
        if mark.exists() {
            return Ok(());
        }
        if directory.exists() {
            // Without the mark, it was left by a start that was cut off.
            std::fs::remove_dir_all(&directory)?;
        }
        std::fs::create_dir_all(&directory)?;
        let log = self.home.log(&format!("{}-format", server.name()));
        let mut command = self.java(server, java, &log)?;
        let status = command.arg("-Xmx128m").args(main).status()?;
        ensure!(status.success(), "cannot format {}; {}", server.name(), end_of(&log));
        std::fs::write(mark, "")?;
        Ok(())
    }

    fn spawn(&self, server: Server, java: &Java) -> Result<()> {
        let log = self.home.log(server.name());
        if log.exists() {
            std::fs::rename(&log, log.with_extension("log.old"))?;
        }
        let mut command = self.java(server, java, &log)?;
        command.args(server.memory());
        command.args(server.main(&self.home.conf(server.conf()), &self.ports));
        // Ctrl-C in the terminal is meant for us, not for the server.
        let child = command.process_group(0).spawn()?;
        let process = Process::of(child.id());
        let process = process.with_context(|| format!("{} ended at once", server.name()))?;
        process.write(&self.home.pid_file(server))
    }

    /// Java with the class path of a server, writing to a log.
    fn java(&self, server: Server, java: &Java, log: &Path) -> Result<Command> {
        let output = File::create(log)?;
        let mut command = java.command();
        command.arg(format!("-Djava.io.tmpdir={}", self.home.directory().join("tmp").display()));
        command.arg("-cp").arg(self.home.class_path(server.conf(), &[server.library()]));
        // The superuser of HDFS shall be who owns the processes.
        command.env_remove("HADOOP_USER_NAME");
        command.current_dir(self.home.directory()).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        Ok(command)
    }

    fn wait_until_ready(
        &self,
        mut servers: Vec<Server>,
        java: &Java,
        started: &mut Vec<Server>,
        start: Instant,
        patience: Duration,
    ) -> Result<()> {
        loop {
            let mut waiting = Vec::new();
            for server in servers {
                match probe::ready(server, &self.ports) {
                    Ok(()) => self.say_ready(server, started.contains(&server), start),
                    // It ran before, and has ended meanwhile because it needs one that had ended.
                    Err(_) if self.home.living(server).is_none() && !started.contains(&server) => {
                        self.spawn(server, java)?;
                        started.push(server);
                        waiting.push(server);
                    }
                    Err(error) => {
                        self.check_hope(server, &error, start, patience)?;
                        waiting.push(server);
                    }
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            servers = waiting;
            std::thread::sleep(PAUSE);
        }
    }

    fn say_ready(&self, server: Server, started: bool, start: Instant) {
        let seconds = start.elapsed().as_secs_f64();
        let how = match started {
            false if seconds < 2.0 => "already up".to_owned(),
            _ => format!("ready after {seconds:.1} s"),
        };
        let port = server.ports().first().map_or(0, |port| self.ports.of(*port));
        eprintln!("{:<9} {how}, port {port}", server.name());
    }

    /// An error if a server that is not ready cannot be expected to become so.
    fn check_hope(
        &self,
        server: Server,
        reason: &anyhow::Error,
        start: Instant,
        patience: Duration,
    ) -> Result<()> {
        let name = server.name();
        let log = self.home.log(name);
        if self.home.living(server).is_none() {
            bail!("{name} ended before it was ready; {}", end_of(&log));
        }
        if start.elapsed() > patience {
            let seconds = patience.as_secs();
            bail!("{name} is not ready after {seconds} s: {reason:#}; {}", end_of(&log));
        }
        Ok(())
    }

    /// A place in HDFS where everyone may write: the root belongs to who started the servers.
    fn make_directory(&self, patience: Duration) -> Result<()> {
        self.web_hdfs("PUT", "/tidemill?op=MKDIRS&permission=777", patience)
            .context("cannot make `/tidemill` in HDFS")
    }

    /// A request to the name node as who started the servers: the superuser.
    /// <https://hadoop.apache.org/docs/stable/hadoop-project-dist/hadoop-hdfs/WebHDFS.html>
    pub(super) fn web_hdfs(&self, method: &str, request: &str, patience: Duration) -> Result<()> {
        let user = Command::new("id").arg("-un").output().context("cannot run `id`")?;
        let user = String::from_utf8_lossy(&user.stdout);
        let target = format!("/webhdfs/v1{request}&user.name={}", user.trim());
        http::request(method, self.ports.of(Port::NameNodeHttp), &target, patience)?;
        Ok(())
    }
}

fn wanted_ports(offset: u16) -> Result<Ports> {
    Ports::wanted(offset, |name| std::env::var(name).ok())
}

/// In the order in which they start.
fn servers_of(services: &[Service]) -> Vec<Server> {
    let mut servers = STAGES.concat();
    servers.retain(|server| services.iter().any(|service| service.servers().contains(server)));
    servers
}

/// The last lines of a log, and where it is.
fn end_of(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
    format!("the end of `{}`:\n  {end}", log.display())
}
