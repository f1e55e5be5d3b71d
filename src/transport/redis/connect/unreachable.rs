//! Explains why a socket could not be opened, and what to do about it.

use std::io::{Error, ErrorKind};

use tokio_rustls::rustls;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};

/// Returns what is wrong and what to do. It follows the address of the server.
pub(super) fn explain(error: &Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        return explain_tls(error);
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            format!("{error}. Nothing listens there: check host and port, and that Redis runs")
        }
        ErrorKind::NotFound => format!("{error}. Check the path of the socket (`unixsocket`)"),
        ErrorKind::PermissionDenied => {
            format!("{error}. Let this process use the socket (`unixsocketperm`), or the network")
        }
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
            format!(
                "{error}. It ended the connection amid the handshake of TLS: check that it speaks TLS on this port"
            )
        }
        _ => error.to_string(),
    }
}

fn explain_tls(error: &TlsError) -> String {
    let what = match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "nobody who is trusted vouches for its certificate. Add its authority to `tls.ca`, or to NODE_EXTRA_CA_CERTS"
        }
        TlsError::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired. Renew it, and check the clocks of both"
        }
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name. Connect by that name, or say it as `tls.servername`",
        TlsError::InvalidMessage(_) => {
            "it does not speak TLS on this port. Leave TLS out (redis://), or use its TLS port"
        }
        TlsError::AlertReceived(rustls::AlertDescription::CertificateRequired) => WANTS_CERTIFICATE,
        other => return format!("TLS: {other}"),
    };
    what.to_owned()
}

/// Redis reports it after the TLS handshake, in place of its first reply.
pub(super) const WANTS_CERTIFICATE: &str =
    "it wants a certificate of the client. Add `tls.cert` and `tls.key`";

/// Whether the server has ended TLS because it wants a certificate of the client.
pub(super) fn wants_certificate(error: &Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    matches!(tls, Some(TlsError::AlertReceived(rustls::AlertDescription::CertificateRequired)))
}
