//! TLS of the link's own connections.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_rustls::{TlsConnector, rustls};

/// The TLS options, as the user gives them.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// The certificates of the authorities in PEM. Each text may hold several. No others are trusted.
    pub ca: Vec<String>,
    /// The certificate of the client in PEM, followed by those that lead to its authority.
    pub cert: Option<String>,
    /// Its private key in PEM: PKCS #8, PKCS #1 or SEC 1, not encrypted.
    pub key: Option<String>,
    /// The name that the server's certificate must have; `None` for the host that is connected to.
    pub server_name: Option<String>,
    /// Accepts any certificate: nobody can eavesdrop, but anybody can pose as the server.
    pub insecure: bool,
}

/// How connections are encrypted, and how the server is verified. Cheap to clone. It is created once, since
/// connections that share it resume each other's sessions.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    insecure: bool,
}

impl Tls {
    /// Reads the options.
    ///
    /// # Errors
    /// If a part of them is missing, or cannot be read.
    pub fn new(options: &TlsOptions) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| problem("tls", error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier(options, provider)?);
        let config = match (&options.cert, &options.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| match error {
                    pem::Error::NoItemsFound => {
                        problem("tls.key", "there is no private key in it that is not encrypted")
                    }
                    error => problem("tls.key", error),
                })?;
                builder
                    .with_client_auth_cert(certificates("tls.cert", cert)?, key)
                    .map_err(|error| problem("tls.cert and tls.key", error))?
            }
            (Some(_), None) => return Err(problem("tls.key", "tls.cert needs it")),
            (None, Some(_)) => return Err(problem("tls.cert", "tls.key needs it")),
        };
        let server_name = match options.server_name.as_deref() {
            None | Some("") => None,
            Some(name) => Some(
                ServerName::try_from(name.to_owned()).map_err(|error| problem("tls.serverName", error))?,
            ),
        };
        Ok(Self { config: Arc::new(config), server_name, insecure: options.insecure })
    }

    /// Makes the TLS handshake on a new connection to `host`.
    pub(crate) async fn connect(&self, host: &str, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?,
        };
        TlsConnector::from(Arc::clone(&self.config)).connect(name, socket).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("server_name", &self.server_name)
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Tls {
    /// Whether both are clones of the same.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.server_name == other.server_name
    }
}

impl Eq for Tls {}

/// Why the TLS options are invalid. Never shows the content of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// The name of the part in JS.
    pub part: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.problem)
    }
}

impl std::error::Error for TlsError {}

fn problem(part: &str, problem: impl fmt::Display) -> TlsError {
    TlsError { part: part.to_owned(), problem: problem.to_string() }
}

fn certificates(part: &str, text: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(problem(part, "there is no certificate in it")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(problem(part, error)),
    }
}

fn verifier(
    options: &TlsOptions,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if options.insecure {
        return Ok(Arc::new(Anybody(provider)));
    }
    let mut given = Vec::new();
    for (index, text) in options.ca.iter().enumerate() {
        given.extend(certificates(&format!("tls.ca[{index}]"), text)?);
    }
    let mut roots = RootCertStore::empty();
    // rustls may not support some certificates of a long list.
    let (usable, _) = roots.add_parsable_certificates(given.iter().cloned());
    if usable == 0 {
        return Err(problem("tls.ca", "there is no certificate of an authority in it"));
    }
    let by_authority = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| problem("tls.ca", error))?;
    Ok(Arc::new(Trusted { by_authority, given }))
}

/// Accepts a server if an authority vouches for it, or if its own certificate is among those given. The
/// latter is for a certificate that is its own authority: webpki rejects it, but Node accepts it.
#[derive(Debug)]
struct Trusted {
    by_authority: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict =
            self.by_authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // The verifier has checked its dates already, but not its name.
            Err(error) if is_its_own_authority(&error) && self.given.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

fn is_its_own_authority(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(cause)))
            if matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
    )
}

/// Verifies nothing, since the user's client does not either.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
