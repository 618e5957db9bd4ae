//! The accounts at providers whose requests are signed: real secrets and keys, and the virtual ones
//! that apps hold in their place.

use super::accounts::App;
use crate::highhelp;
use crate::keys::Signer;
use crate::qostiq::{self, Encoding};
use crate::random;
use anyhow::Result;

/// An account at Qostiq.
#[derive(Debug, Clone)]
pub struct QostiqHeld {
    /// Its name in the configuration: `qostiq`, `qostiq-browser`.
    pub name: &'static str,
    /// On the shop's page.
    pub title: &'static str,
    /// Who posts the card form: `server` or `browser`.
    pub post: &'static str,
    /// What the provider knows.
    pub real: qostiq::Account,
    /// The secret of the app `shop`.
    pub shop: String,
    /// The secret of the app `stall`; granted the first account only.
    pub stall: Option<String>,
}

impl QostiqHeld {
    /// An app's virtual secret.
    #[must_use]
    pub fn virtual_secret(&self, app: App) -> Option<&str> {
        match app {
            App::Shop => Some(&self.shop),
            App::Stall => self.stall.as_deref(),
        }
    }
}

/// The keys between one app and Portcullis.
#[derive(Clone)]
pub struct AppKeys {
    /// The app's own: signs its requests; Portcullis holds the public half.
    pub request: Signer,
    /// Portcullis' own: signs alerts to the app, which holds the public half.
    pub alert: Signer,
}

/// An account at HighHelp.
#[derive(Clone)]
pub struct HighHelpHeld {
    /// Its name in the configuration: `highhelp`, `highhelp-hmac`.
    pub name: &'static str,
    /// On the shop's page.
    pub title: &'static str,
    /// The project.
    pub project_id: String,
    /// The project's key; Portcullis signs with it.
    pub request: Signer,
    /// HighHelp's own key; it signs alerts.
    pub alert: Signer,
    /// Between the app `shop` and Portcullis.
    pub shop: AppKeys,
    /// Between the app `stall` and Portcullis; granted the first account only.
    pub stall: Option<AppKeys>,
}

impl HighHelpHeld {
    /// An app's keys.
    #[must_use]
    pub fn virtual_keys(&self, app: App) -> Option<&AppKeys> {
        match app {
            App::Shop => Some(&self.shop),
            App::Stall => self.stall.as_ref(),
        }
    }

    /// What the provider knows.
    #[must_use]
    pub fn real(&self) -> highhelp::Account {
        highhelp::Account {
            project_id: self.project_id.clone(),
            requests: self.request.verifier(),
            alerts: self.alert.clone(),
        }
    }
}

/// Every account at Qostiq.
#[must_use]
pub fn held_at_qostiq() -> Vec<QostiqHeld> {
    let account = |shop_id: &str, callbacks| qostiq::Account {
        shop_id: shop_id.to_owned(),
        secret: random::letters(40),
        callbacks,
        interaction_url: String::new(),
    };
    let by_server = QostiqHeld {
        name: "qostiq",
        title: "Qostiq",
        post: "server",
        real: account("158", Encoding::Json),
        shop: random::letters(40),
        stall: Some(random::letters(40)),
    };
    let by_browser = QostiqHeld {
        name: "qostiq-browser",
        title: "Qostiq (card form posted by the browser, callbacks as a form)",
        post: "browser",
        real: account("159", Encoding::Form),
        shop: random::letters(40),
        stall: None,
    };
    vec![by_server, by_browser]
}

/// Every account at HighHelp: by RSA and by HMAC.
pub fn held_at_highhelp() -> Result<Vec<HighHelpHeld>> {
    let by_rsa = HighHelpHeld {
        name: "highhelp",
        title: "HighHelp",
        project_id: random::uuid(),
        request: Signer::rsa()?,
        alert: Signer::rsa()?,
        shop: AppKeys { request: Signer::rsa()?, alert: Signer::rsa()? },
        stall: Some(AppKeys { request: Signer::rsa()?, alert: Signer::rsa()? }),
    };
    let by_hmac = HighHelpHeld {
        name: "highhelp-hmac",
        title: "HighHelp (HMAC)",
        project_id: random::uuid(),
        request: Signer::hmac(),
        alert: Signer::hmac(),
        shop: AppKeys { request: Signer::hmac(), alert: Signer::hmac() },
        stall: None,
    };
    Ok(vec![by_rsa, by_hmac])
}
