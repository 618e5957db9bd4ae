//! A small HTTPS client: one connection per call, nothing followed, nothing retried, the target
//! verbatim.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// A call that is about to be made.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// A call without a body. The target goes out as written here.
    #[must_use]
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A GET.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url)
    }

    /// A POST with a body of the given type.
    #[must_use]
    pub fn post(url: impl Into<String>, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut call = Self::new(Method::POST, url).header("content-type", content_type);
        call.body = body.into();
        call
    }

    /// A POST of JSON.
    #[must_use]
    pub fn post_json(url: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::post(url, "application/json", body)
    }

    /// Adds a header; one that cannot be spelled is left out.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let parsed = (HeaderName::try_from(name), HeaderValue::from_str(value));
        if let (Ok(name), Ok(value)) = parsed {
            self.headers.append(name, value);
        }
        self
    }

    /// Replaces a header, or takes it away if the value is empty.
    #[must_use]
    pub fn replaced(mut self, name: &str, value: &str) -> Self {
        self.headers.remove(name);
        if value.is_empty() { self } else { self.header(name, value) }
    }

    /// A header that was set.
    #[must_use]
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Where it goes.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as text, lossy.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .map_err(|_| anyhow!("status {} with a body that is not JSON", self.status))
    }

    /// The body's content type.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE.as_str())
    }
}

/// Knows whom to trust and how long to wait.
#[derive(Debug, Clone)]
pub struct Client {
    tls: Arc<ClientConfig>,
    patience: Duration,
}

impl Client {
    /// A client that trusts these roots and nothing else.
    pub fn trusting(roots: RootCertStore) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("TLS cannot be set up")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(tls), patience: PATIENCE })
    }

    /// The same client with another total deadline per call.
    #[must_use]
    pub fn patient(&self, patience: Duration) -> Self {
        Self { tls: Arc::clone(&self.tls), patience }
    }

    /// Makes one call.
    pub async fn send(&self, call: Call) -> Result<Answer> {
        let place = format!("{} {}", call.method, call.url.split('?').next().unwrap_or_default());
        match tokio::time::timeout(self.patience, self.exchange(call)).await {
            Ok(answer) => answer.with_context(|| place),
            Err(_) => bail!("{place}: no answer within {:?}", self.patience),
        }
    }

    /// A bare connection to `https://host:port`, for those who write what they like.
    pub async fn connect(&self, base: &str) -> Result<TlsStream<TcpStream>> {
        let uri: Uri = base.parse().context("not a URL")?;
        let host = uri.host().context("no host in the URL")?.to_owned();
        let stream = TcpStream::connect((near(&host), uri.port_u16().unwrap_or(443))).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(ServerName::try_from(host)?, stream).await.context("TLS handshake failed")
    }

    async fn exchange(&self, call: Call) -> Result<Answer> {
        let uri: Uri = call.url.parse().context("not a URL")?;
        let host = uri.host().context("no host in the URL")?.to_owned();
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => bail!("neither http nor https"),
        };
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let stream = TcpStream::connect((near(&host), port)).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        if !tls {
            return talk(stream, &uri, call).await;
        }
        let name = ServerName::try_from(host).context("not a server name")?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, stream).await.context("TLS handshake failed")?;
        talk(stream, &uri, call).await
    }
}

/// Browsers know that names below it are this machine (RFC 6761); not every resolver does.
fn near(host: &str) -> &str {
    if host.ends_with(".localhost") { "localhost" } else { host }
}

async fn talk<S>(stream: S, uri: &Uri, call: Call) -> Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driving = tokio::spawn(connection);
    let result = sender.send_request(request(uri, call)?).await;
    let answer = match result {
        Ok(response) => collect(response).await,
        Err(error) => Err(error.into()),
    };
    driving.abort();
    answer
}

fn request(uri: &Uri, call: Call) -> Result<hyper::Request<Full<Bytes>>> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let authority = uri.authority().context("no authority in the URL")?;
    let mut request = hyper::Request::new(Full::new(call.body));
    *request.method_mut() = call.method;
    *request.uri_mut() = target.parse()?;
    *request.headers_mut() = call.headers;
    if !request.headers().contains_key(HOST) {
        request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    }
    Ok(request)
}

async fn collect(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("the answer broke off")?.to_bytes();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}
