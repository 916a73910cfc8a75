//! What every page has around it.

use crate::Site;
use crate::words::Clock;
use axum::http::HeaderMap;

/// The values of `base.html`.
#[derive(Clone, Debug)]
pub struct Chrome {
    /// Which link of the top bar is this page's.
    pub section: Section,
    pub clock: Clock,
    pub theme: &'static str,
    /// Whether somebody can sign out.
    pub has_token: bool,
    /// Whether the page renews itself: not what answers a form.
    pub is_live: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    None,
    Pipelines,
    Datasets,
    Dashboards,
    Admin,
}

/// How a browser wants its pages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taste {
    theme: &'static str,
}

impl Taste {
    pub fn of(headers: &HeaderMap) -> Taste {
        let chosen = crate::guard::cookie(headers, "theme").unwrap_or_default();
        let known = ["light", "dark"].into_iter().find(|known| *known == chosen);
        Taste { theme: known.unwrap_or_default() }
    }
}

impl Site {
    pub(crate) fn chrome(&self, section: Section, taste: Taste) -> Chrome {
        Chrome {
            section,
            clock: self.clock(),
            theme: taste.theme,
            has_token: self.token.is_some(),
            is_live: section != Section::None,
        }
    }
}

impl Chrome {
    pub fn is(&self, section: &str) -> bool {
        let name = match self.section {
            Section::None => "",
            Section::Pipelines => "pipelines",
            Section::Datasets => "datasets",
            Section::Dashboards => "dashboards",
            Section::Admin => "admin",
        };
        name == section
    }

    /// `07:12`
    pub fn time(&self) -> String {
        self.clock.minute(self.clock.now)
    }

    pub fn instant(&self) -> String {
        self.clock.exact(self.clock.now)
    }

    /// `Europe/Berlin`
    pub fn zone(&self) -> String {
        let offset = || self.clock.local(self.clock.now).strftime("UTC%:z").to_string();
        match self.clock.zone.iana_name() {
            Some("Etc/UTC" | "Etc/Universal") => "UTC".to_owned(),
            Some(name) => name.to_owned(),
            None => offset(),
        }
    }

    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}
