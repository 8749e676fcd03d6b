//! `live --dry-run`: the whole pipeline, and nothing that changes the account. REST reads, and keeps the user stream; what
//! would place, change or cancel an order is answered here, as the venue answers what it refuses. The gateway stands behind
//! a fence that never opens ([`crate::roles::lease::Fence::dry`]).

use std::sync::Arc;

use binance::rest::{Exchange, HttpRequest, HttpResponse, Transport};

/// The only thing that may be created, kept and deleted: it changes nothing of the account.
const LISTEN_KEY: &str = "/fapi/v1/listenKey";

/// A transport that only reads.
#[derive(Debug)]
pub struct ReadOnly(pub Arc<dyn Transport>);

impl Transport for ReadOnly {
    fn exchange(&self, request: HttpRequest) -> Exchange<'_> {
        if request.method == "GET" || request.path == LISTEN_KEY {
            return self.0.exchange(request);
        }
        tracing::info!("dry run: {} {} is not sent", request.method, request.path);
        // New order rejected, cancel rejected: certain not to have been executed.
        let code = if request.method == "DELETE" { -2011 } else { -2010 };
        let body = format!("{{\"code\":{code},\"msg\":\"dry run: nothing is sent\"}}").into_bytes();
        Box::pin(std::future::ready(Ok(HttpResponse { status: 400, headers: Vec::new(), body })))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Venue(Mutex<Vec<String>>);

    impl Transport for Venue {
        fn exchange(&self, request: HttpRequest) -> Exchange<'_> {
            self.0.lock().unwrap().push(format!("{} {}", request.method, request.path));
            let answer = HttpResponse { status: 200, headers: Vec::new(), body: b"{}".to_vec() };
            Box::pin(std::future::ready(Ok(answer)))
        }
    }

    #[tokio::test]
    async fn nothing_that_changes_the_account_passes() {
        let venue = Arc::new(Venue::default());
        let dry = ReadOnly(Arc::<Venue>::clone(&venue));
        let all = [
            ("GET", "/fapi/v1/openOrders", true),
            ("POST", LISTEN_KEY, true),
            ("PUT", LISTEN_KEY, true),
            ("POST", "/fapi/v1/order", false),
            ("PUT", "/fapi/v1/order", false),
            ("DELETE", "/fapi/v1/order", false),
            ("DELETE", "/fapi/v1/allOpenOrders", false),
            ("POST", "/fapi/v1/countdownCancelAll", false),
            ("POST", "/fapi/v1/leverage", false),
        ];
        for (method, path, passes) in all {
            let (base, query) = (String::new(), String::new());
            let request = HttpRequest { method, base, path, query, api_key: None, max_body: 100 };
            let answer = dry.exchange(request).await.unwrap();
            assert_eq!(answer.status == 200, passes, "{method} {path}");
        }
        assert_eq!(venue.0.lock().unwrap().len(), 3);
    }
}
