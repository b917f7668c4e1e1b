//! The certificate of the port, and whose clients' certificates it takes.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
#[cfg(test)]
use tokio_rustls::rustls::server::ResolvesServerCert;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};
use tokio_rustls::server::TlsStream;

/// The only protocol of the port, as TLS names it.
const HTTP2: &[u8] = b"h2";

/// Authorities that clients' certificates must come from, as PEM text.
pub struct Roots<'a> {
    pub pem: &'a [u8],
    /// It is the machine's own list: what is not understood is left out.
    pub system: bool,
}

/// What new connections are opened with; nothing means in the clear.
#[derive(Default)]
pub struct Tls {
    config: RwLock<Option<Arc<ServerConfig>>>,
}

impl Tls {
    /// Open new connections with another configuration. Those that are open keep theirs, and none of them is resumed
    /// with the new one: whom it lets in was decided by the old one.
    pub fn set(&self, config: ServerConfig) {
        let mut place = self.config.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Arc::new(config));
    }

    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        config.clone().map(TlsAcceptor::from)
    }
}

/// Make the configuration of a key and a certificate chain, as PEM text. With roots, clients need a certificate.
pub fn server_config(
    key: &[u8],
    chain: &[u8],
    roots: Option<Roots<'_>>,
) -> Result<ServerConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = builder(&provider)?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let known = Arc::new(authorities(roots)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(known, provider).build();
            let verifier =
                verifier.map_err(|error| format!("custom_ca cannot be used: {error}"))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let cannot = |error: &dyn std::fmt::Display| {
        format!("server_key and server_cert cannot be used: {error}")
    };
    let chain = certificates(chain).map_err(|error| cannot(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| cannot(&error))?;
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| cannot(&error))?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

/// One whose certificate is another's to choose.
#[cfg(test)]
pub fn server_config_of(resolver: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, String> {
    let builder = builder(&Arc::new(ring::default_provider()))?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

fn builder(
    provider: &Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, String> {
    ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no certificate in it".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

fn authorities(roots: Roots<'_>) -> Result<RootCertStore, String> {
    let mut known = RootCertStore::empty();
    if roots.system {
        known.add_parsable_certificates(CertificateDer::pem_slice_iter(roots.pem).flatten());
        return Ok(known);
    }
    let cannot = |error: String| format!("custom_ca cannot be used: {error}");
    for one in certificates(roots.pem).map_err(cannot)? {
        known.add(one).map_err(|error| cannot(error.to_string()))?;
    }
    Ok(known)
}

/// The certificate of a client that was verified, if clients need one; `None` when the client does not speak HTTP/2.
pub fn client<S>(socket: &TlsStream<S>) -> Option<Option<Arc<[u8]>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (_, session) = socket.get_ref();
    if session.alpn_protocol() != Some(HTTP2) {
        return None;
    }
    let own = session.peer_certificates().and_then(<[_]>::first);
    Some(own.map(|one| Arc::from(one.as_ref())))
}
