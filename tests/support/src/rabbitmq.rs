//! Gives a test a RabbitMQ virtual host of its own, through the management API.

use std::fmt;

use serde_json::Value;
use tokio::sync::OnceCell;

use crate::Result;
use crate::cleanup::Cleanup;
use crate::http::{self, Response};
use crate::name;
use crate::report::report;
use crate::server::Server;

const BROKER: Server = Server { name: "RabbitMQ", variable: "MAMEY_TEST_RABBITMQ_URL" };
const MANAGEMENT: Server =
    Server { name: "RabbitMQ's management API", variable: "MAMEY_TEST_RABBITMQ_MANAGEMENT_URL" };

/// The user of a client whose URL names none.
const DEFAULT_USER: &str = "guest";

/// A virtual host that one test owns; dropped with this, with its queues and connections.
pub struct Vhost {
    name: String,
    url: String,
    _cleanup: Cleanup,
}

impl Vhost {
    /// The virtual host's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An AMQP URL of the virtual host.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl fmt::Debug for Vhost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vhost").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes a virtual host for one test.
///
/// # Errors
///
/// Where the broker is not there or does not let us.
pub async fn vhost() -> Result<Vhost> {
    let url = BROKER.url()?;
    MANAGEMENT.url()?;
    sweep_once().await?;
    let name = name::fresh();
    let dropped = name.clone();
    // The guard comes first: a cancelled creation is cleaned up too.
    let cleanup = Cleanup::new(&name, async move { drop_vhost(&dropped).await });
    api("PUT", &format!("/api/vhosts/{name}"), "{}", "make a virtual host").await?;
    let user = url.userinfo().and_then(|info| info.split(':').next()).unwrap_or(DEFAULT_USER);
    let everything = r#"{"configure":".*","write":".*","read":".*"}"#;
    api("PUT", &format!("/api/permissions/{name}/{user}"), everything, "give permissions").await?;
    let url = url.with_path(&name).to_text();
    Ok(Vhost { name, url, _cleanup: cleanup })
}

/// Drops the virtual hosts that killed runs left, and returns their names.
///
/// Making a virtual host does this once per process already.
///
/// # Errors
///
/// Where the broker is not there or one of them cannot be dropped.
pub async fn sweep() -> Result<Vec<String>> {
    let mut names = vhosts().await?;
    names.retain(|name| name::is_left_over(name));
    for name in &names {
        drop_vhost(name).await?;
    }
    Ok(names)
}

async fn sweep_once() -> Result<()> {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    let sweep = async {
        match sweep().await {
            Err(error) if error.is_absence() => Err(error),
            Err(error) => {
                report(&format!("what a killed run left stays: {}", error.in_full()));
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    };
    SWEPT.get_or_try_init(|| Box::pin(sweep)).await.map(|_| ())
}

/// The names of all virtual hosts.
///
/// # Errors
///
/// Where the broker is not there or does not let us.
pub async fn vhosts() -> Result<Vec<String>> {
    let action = "list virtual hosts";
    let response = api("GET", "/api/vhosts?columns=name", "", action).await?;
    let list: Value =
        serde_json::from_str(&response.body).map_err(|error| MANAGEMENT.refused(action, error))?;
    let names = list.as_array().into_iter().flatten().filter_map(|vhost| vhost["name"].as_str());
    Ok(names.map(ToOwned::to_owned).collect())
}

async fn drop_vhost(name: &str) -> Result<()> {
    api("DELETE", &format!("/api/vhosts/{name}"), "", "drop a virtual host").await.map(|_| ())
}

async fn api(method: &str, path: &str, json: &str, action: &str) -> Result<Response> {
    let url = MANAGEMENT.url()?;
    let asking = async {
        http::request(&url, method, path, json)
            .await
            .map_err(|error| MANAGEMENT.unreachable(&url, error))
    };
    let response = MANAGEMENT.within_timeout(&url, asking).await?;
    match response.status {
        200..=299 => Ok(response),
        // Somebody else has dropped it: another run's sweep for instance.
        404 if method == "DELETE" => Ok(response),
        status => Err(MANAGEMENT.refused(action, format!("status {status}: {}", response.body))),
    }
}
