//! Speaks just enough HTTP for RabbitMQ's management API.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::url::Url;

/// The most bytes of a response that are read.
const RESPONSE_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends one request to the server of `url` and reads the whole response.
///
/// HTTP/1.0: the server then closes after its response and does not send it in pieces.
pub(crate) async fn request(
    url: &Url,
    method: &str,
    path: &str,
    json: &str,
) -> io::Result<Response> {
    let address = url.address();
    let mut head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n",
        json.len()
    );
    if let Some(userinfo) = url.userinfo() {
        let encoded = STANDARD.encode(decode_percent(userinfo));
        head.push_str(&format!("Authorization: Basic {encoded}\r\n"));
    }
    let mut stream = TcpStream::connect(&address).await?;
    stream.write_all(format!("{head}\r\n{json}").as_bytes()).await?;
    let mut response = Vec::new();
    stream.take(RESPONSE_BYTES_MAX).read_to_end(&mut response).await?;
    parse(&String::from_utf8_lossy(&response))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the response is not HTTP"))
}

fn parse(response: &str) -> Option<Response> {
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Response { status, body: body.to_owned() })
}

fn decode_percent(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%');
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = match byte {
            Some(_) => tail.get(2..).unwrap_or_default(),
            None => tail,
        };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::{decode_percent, parse};

    #[test]
    fn a_response_has_a_status_and_a_body() {
        let response = parse("HTTP/1.1 404 Not Found\r\nserver: x\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!((response.status, response.body.as_str()), (404, "{\"a\":1}"));
        assert!(parse("SSH-2.0-OpenSSH\r\n\r\n").is_none());
        assert!(parse("HTTP/1.1 200 OK\r\n").is_none());
    }

    #[test]
    fn escapes_of_user_and_password_are_undone() {
        for (text, decoded) in [("u:p%40%2fs", "u:p@/s"), ("100%", "100%"), ("%zz%4", "%zz%4")] {
            assert_eq!(decode_percent(text), decoded.as_bytes());
        }
    }
}
