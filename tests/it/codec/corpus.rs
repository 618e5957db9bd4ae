//! Malformed HTTP/1.1 requests: each is refused, none reaches the room, and what follows it on the
//! connection is never served. Controls beside them are served.

use super::support::Server;

/// Served, and the connection lives on.
const CONTROLS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nhOST:a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n",
    "GET /a%20b?c=%zz|{}[] HTTP/1.1\r\nHost: a:8443\r\n\r\n",
    "GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET https://a HTTP/1.1\r\nHost: A\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX: 2\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0003\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: cHuNkEd\r\n\r\n3\r\nabc\r\n00\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    "OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    "GET /..a/.b/c. HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// Whole requests that are wrong in themselves.
const REQUESTS: &[&str] = &[
    // Request line.
    "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\t\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\rHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
    "GET /\r\nHost: a\r\n\r\n",
    "GET /\r\n\r\n",
    "GET\r\n\r\n",
    "GET / \r\nHost: a\r\n\r\n",
    "/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET / HTTP/2\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "GET / HTTP/01.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/+1.1\r\nHost: a\r\n\r\n",
    "GET / http/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTPS/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP 1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1,1\r\nHost: a\r\n\r\n",
    "GET / SHTTP/1.1\r\nHost: a\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "Get / HTTP/1.1\r\nHost: a\r\n\r\n",
    "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET: / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n",
    "G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GETGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TRACK / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n",
    "PURGE / HTTP/1.1\r\nHost: a\r\n\r\n",
    "QUERY / HTTP/1.1\r\nHost: a\r\n\r\n",
    // Target.
    "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET ?x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET //a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET \\x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x\\y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x\ty HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x\0y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x\u{7f}y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /<x> HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\"x\" HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /?\"x\" HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /{x} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x|y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x^y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /x`y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /% HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%4g HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%0d%0aX:y HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a%5Cb HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /. HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /.. HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/./b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/.%2E/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a/%2e/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n",
    "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http:/a/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http:a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET ://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a#b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/ HTTP/1.1\r\n\r\n",
    // Host.
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: \r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nhost:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a/x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a?x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a#x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: u:p@a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:-1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a.\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: .a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [a]\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a%00\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: \"a\"\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: <a>\r\n\r\n",
    "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "GET / HTTP/1.1\r\nX-Host: a\r\n\r\n",
    "GET / HTTP/1.1\r\nH\u{f6}st: a\r\n\r\n",
];

/// Field lines that spoil an otherwise good request.
const FIELDS: &[&str] = &[
    "X: a\n",
    "X: a\n\r\n",
    "X: a\rY: b\r\n",
    "X: a\r\r\n",
    "X: a\0b\r\n",
    "X: a\u{7f}\r\n",
    "X: a\u{1}\r\n",
    "X\0: a\r\n",
    "X : a\r\n",
    "X\t: a\r\n",
    " X: a\r\n",
    "\tX: a\r\n",
    "X: a\r\n b\r\n",
    "X: a\r\n\tb\r\n",
    "X:\r\n a\r\n",
    "X: a\r\n \r\n",
    "X\r\n",
    ": a\r\n",
    ":\r\n",
    "X Y: a\r\n",
    "X(: a\r\n",
    "X\"Y: a\r\n",
    "X@Y: a\r\n",
    "X/Y: a\r\n",
    "X[0]: a\r\n",
    "X{Y}: a\r\n",
    "X\\Y: a\r\n",
    "X,Y: a\r\n",
    "X;Y: a\r\n",
    "X=Y: a\r\n",
    "X\u{e9}: a\r\n",
    "\u{feff}X: a\r\n",
    "GET /admin HTTP/1.1\r\n",
    "Content-Length: -1\r\n",
    "Content-Length: +3\r\n",
    "Content-Length: 3,3\r\n",
    "Content-Length: 3, 3\r\n",
    "Content-Length: 3;\r\n",
    "Content-Length: 3 3\r\n",
    "Content-Length: 0x3\r\n",
    "Content-Length: 3.0\r\n",
    "Content-Length: 3e0\r\n",
    "Content-Length: \"3\"\r\n",
    "Content-Length: three\r\n",
    "Content-Length:\r\n",
    "Content-Length: \u{b3}\r\n",
    "Content-Length: 18446744073709551619\r\n",
    "Content-Length: 99999999999999999999999999\r\n",
    "Content-Length: 3\r\nContent-Length: 3\r\n",
    "Content-Length: 3\r\nContent-Length: 4\r\n",
    "Content-Length: 3\r\ncontent-length: 0\r\n",
    "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
    "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    "Content-Length : 3\r\n",
    "Content-Length\t: 3\r\n",
    "Content-Length: 3\r\n\t\r\n",
    "Transfer-Encoding: gzip\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, gzip\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: chunked,\r\n",
    "Transfer-Encoding: ,chunked\r\n",
    "Transfer-Encoding: chunked;q=1\r\n",
    "Transfer-Encoding: \"chunked\"\r\n",
    "Transfer-Encoding: 'chunked'\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: chunkedx\r\n",
    "Transfer-Encoding: chun ked\r\n",
    "Transfer-Encoding: \u{b}chunked\r\n",
    "Transfer-Encoding: chunked\u{c}\r\n",
    "Transfer-Encoding: \u{a0}chunked\r\n",
    "Transfer-Encoding:\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding\r\n: chunked\r\n",
    "Transfer-Encoding:\r\n chunked\r\n",
    "Transfer-Encoding: chunked\nX: y\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n",
    "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
    "Upgrade: h2c\r\n",
    "Upgrade:\r\n",
    "Connection: upgrade\r\n",
    "Connection: authorization\r\n",
    "Connection: close, authorization\r\n",
    "Connection: content-length\r\n",
    "Connection: host\r\n",
    "Connection: keep-alive, x-forwarded-for\r\n",
    "Connection: ,\r\n",
    "Connection:\r\n",
    "Connection: close;\r\n",
    "Expect: 200-ok\r\n",
    "Expect: 100-continue, x\r\n",
    "Expect:\r\n",
    "Expect: 100-continue\r\nExpect: 100-continue\r\n",
    "Content-Encoding: gzip\r\n",
    "Content-Encoding: identity\r\n",
    "Content-Encoding: br, gzip\r\n",
    "Content-Encoding:\r\n",
    "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
    "Content-Type: application/json\r\ncontent-type: application/json\r\n",
    "Authorization: Basic a\r\nAuthorization: Basic b\r\n",
    "Portcullis-Key: a\r\nPortcullis-Key: b\r\n",
    "Origin: https://a\r\nOrigin: https://b\r\n",
];

/// Chunked bodies that are wrong.
const CHUNKS: &[&str] = &[
    "3\nabc\r\n0\r\n\r\n",
    "3\r\nabc\n0\r\n\r\n",
    "3\r\nabc0\r\n\r\n",
    "3\r\nabcd\r\n0\r\n\r\n",
    "3\r\nab\r\n0\r\n\r\n",
    "3;x\r\nabc\r\n0\r\n\r\n",
    "3;x=y\r\nabc\r\n0\r\n\r\n",
    "3;x=\"\n\"\r\nabc\r\n0\r\n\r\n",
    "3 ;x\r\nabc\r\n0\r\n\r\n",
    "3;\r\nabc\r\n0\r\n\r\n",
    "3 \r\nabc\r\n0\r\n\r\n",
    " 3\r\nabc\r\n0\r\n\r\n",
    "\t3\r\nabc\r\n0\r\n\r\n",
    "+3\r\nabc\r\n0\r\n\r\n",
    "-3\r\nabc\r\n0\r\n\r\n",
    "0x3\r\nabc\r\n0\r\n\r\n",
    "3h\r\nabc\r\n0\r\n\r\n",
    "g\r\nabc\r\n0\r\n\r\n",
    "3_0\r\nabc\r\n0\r\n\r\n",
    "3,3\r\nabc\r\n0\r\n\r\n",
    "\r\n3\r\nabc\r\n0\r\n\r\n",
    "000000003\r\nabc\r\n0\r\n\r\n",
    "100000003\r\nabc\r\n0\r\n\r\n",
    "10000000000000003\r\nabc\r\n0\r\n\r\n",
    "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "ffffffff\r\nabc\r\n0\r\n\r\n",
    "3\r\nabc\r\n0\n\n",
    "3\r\nabc\r\n0\r\n\n",
    "3\r\nabc\r\n0\r\nX\r\n\r\n",
    "3\r\nabc\r\n0\r\nX : y\r\n\r\n",
    "3\r\nabc\r\n0\r\n X: y\r\n\r\n",
    "3\r\nabc\r\n0\r\nX: y\n\r\n",
    "3\r\nabc\r\n0\r\nX: \0\r\n\r\n",
    "3\r\nabc\r\n0\r\n: y\r\n\r\n",
    "3\r\nabc\r\n0\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    "3\r\nabc\r\n0\r\n\rX",
    "3\r\nabc\r\n0;x\r\n\r\n",
    "3\r\nabc\r\n\r\n0\r\n\r\n",
    "3\rabc\r\n0\r\n\r\n",
    "three\r\nabc\r\n0\r\n\r\n",
    "\u{ff13}\r\nabc\r\n0\r\n\r\n",
];

/// Must never be served.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn no_malformed_request_is_served_and_nothing_after_it_either() {
    let server = Server::plain();
    let mut tried = 0;
    let requests = REQUESTS.iter().map(|&request| request.to_owned());
    let fields = FIELDS
        .iter()
        .map(|lines| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\nabc"));
    let chunks = CHUNKS.iter().map(|body| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
    });
    for request in requests.chain(fields).chain(chunks) {
        let answer = server.answer_to(format!("{request}{SMUGGLED}").as_bytes()).await;
        assert_eq!(server.room.handled(), 0, "served: {request:?}");
        let status = answer.get(..10).unwrap_or_default();
        assert!(status == "HTTP/1.1 4" || status == "HTTP/1.1 5", "{request:?} got {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?} got {answer:?}");
        assert!(answer.contains("connection: close\r\n"), "{request:?} got {answer:?}");
        tried += 1;
    }
    assert!(tried >= 250, "{tried} cases only");
}

#[tokio::test(start_paused = true)]
async fn the_controls_are_served_and_the_connection_lives_on() {
    for control in CONTROLS {
        let server = Server::plain();
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = server.answer_to(format!("{control}{last}").as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{control:?} got {answer:?}");
        assert_eq!(server.room.handled(), 2, "{control:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn oversized_heads_are_refused_as_what_they_are() {
    let server = Server::plain();
    let target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8192));
    assert!(server.answer_to(target.as_bytes()).await.starts_with("HTTP/1.1 414 "));
    let endless = format!("GET /{}", "x".repeat(9000));
    assert!(server.answer_to(endless.as_bytes()).await.starts_with("HTTP/1.1 414 "));
    let fields = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100));
    assert!(server.answer_to(fields.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(65_536));
    assert!(server.answer_to(head.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    let unended = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "y".repeat(65_536));
    assert!(server.answer_to(unended.as_bytes()).await.starts_with("HTTP/1.1 431 "));
    assert_eq!(server.room.handled(), 0);
}
