import com.binance.connector.client.common.ApiException;
import com.binance.connector.client.common.configuration.ClientConfiguration;
import com.binance.connector.client.common.configuration.SignatureConfiguration;
import com.binance.connector.client.common.websocket.configuration.WebSocketClientConfiguration;
import com.binance.connector.client.common.websocket.service.StreamBlockingQueueWrapper;
import com.binance.connector.client.derivatives_trading_usds_futures.rest.api.DerivativesTradingUsdsFuturesRestApi;
import com.binance.connector.client.derivatives_trading_usds_futures.rest.model.*;
import com.binance.connector.client.derivatives_trading_usds_futures.websocket.api.api.DerivativesTradingUsdsFuturesWebSocketApi;
import com.binance.connector.client.derivatives_trading_usds_futures.websocket.stream.api.DerivativesTradingUsdsFuturesWebSocketStreams;
import com.binance.connector.client.derivatives_trading_usds_futures.websocket.stream.model.AggregateTradeStreamsRequest;
import com.binance.connector.client.derivatives_trading_usds_futures.websocket.stream.model.DiffBookDepthStreamsRequest;
import com.binance.connector.client.derivatives_trading_usds_futures.websocket.stream.model.UserDataStreamEventsResponse;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** Binance's official Java connector: market data, orders over REST and WebSocket API, conditional orders, user stream, errors. */
public class Session {
    static final String NAME = "official_java";
    static final String SYMBOL = "BTCUSDT";
    static final ExecutorService POOL = Executors.newCachedThreadPool(r -> {
        Thread t = new Thread(r);
        t.setDaemon(true);
        return t;
    });
    static boolean failed = false;

    static void check(String what, boolean held, Object detail) {
        failed |= !held;
        System.out.println((held ? "ok   " : "FAIL ") + NAME + ": " + what + " (" + detail + ")");
    }

    static <T> T soon(Callable<T> what) throws Exception {
        return POOL.submit(what).get(20, TimeUnit.SECONDS);
    }

    static void refused(String what, int code, Callable<?> call) throws Exception {
        try {
            call.call();
            check("error: " + what, false, "accepted");
        } catch (ApiException e) {
            String text = e.getMessage() + " " + e.getResponseBody();
            check("error: " + what, text.contains(String.valueOf(code)), text.replace('\n', ' '));
        }
    }

    static <C extends ClientConfiguration> C signed(C config, String url) {
        SignatureConfiguration signature = new SignatureConfiguration();
        signature.setApiKey("K");
        signature.setSecretKey("S");
        config.setSignatureConfiguration(signature);
        config.setUrl(url);
        return config;
    }

    static DerivativesTradingUsdsFuturesWebSocketStreams streams(String host, String route) {
        WebSocketClientConfiguration config = new WebSocketClientConfiguration();
        config.setUrl("ws://" + host + "/" + route + "/stream");
        return new DerivativesTradingUsdsFuturesWebSocketStreams(config);
    }

    static NewOrderRequest order(Side side, String type, double quantity) {
        return new NewOrderRequest().symbol(SYMBOL).side(side).type(type).quantity(quantity)
            .newOrderRespType(NewOrderRespType.RESULT);
    }

    static NewOrderRequest limit(double price, TimeInForce tif) {
        return order(Side.BUY, "LIMIT", 0.01).price(price).timeInForce(tif);
    }

    static Set<String> listen(String host, String key) {
        Set<String> kinds = new ConcurrentSkipListSet<>();
        StreamBlockingQueueWrapper<UserDataStreamEventsResponse> events = streams(host, "private").userData(key);
        POOL.submit(() -> {
            while (true) {
                kinds.add(events.take().getActualInstance().getClass().getSimpleName());
            }
        });
        return kinds;
    }

    static double market(DerivativesTradingUsdsFuturesRestApi rest, String host) throws Exception {
        ExchangeInformationResponse info = rest.exchangeInformation().getData();
        check("exchange info", info.getSymbols().get(0).getSymbol().equals(SYMBOL), info.getSymbols().size());
        OrderBookResponse book = rest.orderBook(SYMBOL, 1000L).getData();
        check("book", book.getBids().size() == 1000 && book.getAsks().size() == 1000, book.getBids().size());
        var premium = rest.premiumIndexKlineData(SYMBOL, Interval.INTERVAL_1h, null, null, 5L).getData();
        check("premium candles", premium.size() == 5, premium.size());
        check("funding terms", rest.getFundingRateInfo().getData().size() > 0, "");
        String interest = rest.openInterest(SYMBOL).getData().getOpenInterest();
        check("open interest", Double.parseDouble(interest) > 0, interest);
        var depth = streams(host, "public").diffBookDepthStreams(new DiffBookDepthStreamsRequest().symbol(SYMBOL.toLowerCase()));
        var first = soon(depth::take);
        var second = soon(depth::take);
        check("depth stream", second.getPu().equals(first.getuLowerCase()), second.getPu());
        var trades = streams(host, "market").aggregateTradeStreams(new AggregateTradeStreamsRequest().symbol(SYMBOL.toLowerCase()));
        var trade = soon(trades::take);
        check("trade stream", SYMBOL.equals(trade.getsLowerCase()), trade.getpLowerCase());
        return Math.round(Double.parseDouble(book.getBids().get(0).get(0)) * 0.98);
    }

    static void orders(DerivativesTradingUsdsFuturesRestApi rest, double price) throws Exception {
        String balance = rest.futuresAccountBalanceV3(null).getData().get(0).getBalance();
        check("balance", Double.parseDouble(balance) > 0, balance);
        UserCommissionRateResponse rates = rest.userCommissionRate(SYMBOL, null).getData();
        check("commission", Double.parseDouble(rates.getTakerCommissionRate()) == 0.0005, rates.getTakerCommissionRate());
        rest.changeInitialLeverage(new ChangeInitialLeverageRequest().symbol(SYMBOL).leverage(10L));
        NewOrderResponse order = rest.newOrder(limit(price, TimeInForce.GTX).newClientOrderId("java:1")).getData();
        check("place", order.getStatus().equals("NEW") && order.getClientOrderId().equals("java:1"), order.getOrderId());
        CurrentAllOpenOrdersResponse open = rest.currentAllOpenOrders(SYMBOL, null).getData();
        check("open orders", open.size() == 1 && open.get(0).getOrderId().equals(order.getOrderId()), open.size());
        ModifyOrderResponse changed = rest.modifyOrder(new ModifyOrderRequest().symbol(SYMBOL).side(Side.BUY)
            .orderId(order.getOrderId()).quantity(0.02).price(price)).getData();
        check("modify", Double.parseDouble(changed.getOrigQty()) == 0.02, changed.getOrigQty());
        check("cancel", rest.cancelOrder(SYMBOL, order.getOrderId(), null, null).getData().getStatus().equals("CANCELED"), "");
        check("query", rest.queryOrder(SYMBOL, order.getOrderId(), null, null).getData().getStatus().equals("CANCELED"), "");
        NewOrderResponse sold = rest.newOrder(order(Side.SELL, "MARKET", 0.01)).getData();
        check("market fill", sold.getStatus().equals("FILLED"), sold.getExecutedQty());
        PositionInformationV3Response position = rest.positionInformationV3(SYMBOL, null).getData();
        check("position", Double.parseDouble(position.get(0).getPositionAmt()) == -0.01, position.get(0).getPositionAmt());
        String wallet = rest.accountInformationV3(null).getData().getTotalWalletBalance();
        check("account", Double.parseDouble(wallet) > 0, wallet);
        check("user trades", rest.accountTradeList(SYMBOL, null, null, null, null, null, null).getData().size() > 0, "");

        NewAlgoOrderResponse stop = rest.newAlgoOrder(new NewAlgoOrderRequest().algoType("CONDITIONAL").symbol(SYMBOL)
            .side(Side.BUY).type("STOP_MARKET").triggerPrice((double) Math.round(price * 1.1)).closePosition("true")
            .workingType(WorkingType.MARK_PRICE).clientAlgoId("java-stop")).getData();
        check("conditional order", stop.getAlgoStatus().equals("NEW"), stop.getAlgoId());
        check("conditional orders", rest.currentAllAlgoOpenOrders(null, SYMBOL, null, null).getData().size() == 1, "");
        rest.cancelAlgoOrder(stop.getAlgoId(), null, null);
        check("conditional order canceled", rest.currentAllAlgoOpenOrders(null, SYMBOL, null, null).getData().size() == 0, "");
        NewOrderResponse bought = rest.newOrder(order(Side.BUY, "MARKET", 0.01).reduceOnly("true")).getData();
        check("reduce-only close", bought.getStatus().equals("FILLED"), "");
    }

    static void overWebSocket(String host, double price) throws Exception {
        var config = signed(new WebSocketClientConfiguration(), "ws://" + host + "/ws-fapi/v1");
        config.setAutoLogon(false);
        var api = new DerivativesTradingUsdsFuturesWebSocketApi(config);
        var ask = new com.binance.connector.client.derivatives_trading_usds_futures.websocket.api.model.NewOrderRequest()
            .symbol(SYMBOL).side(com.binance.connector.client.derivatives_trading_usds_futures.websocket.api.model.Side.BUY)
            .type("LIMIT").quantity(0.01).price(price)
            .timeInForce(com.binance.connector.client.derivatives_trading_usds_futures.websocket.api.model.TimeInForce.GTC);
        var placed = api.newOrder(ask).get(20, TimeUnit.SECONDS).getResult();
        check("place over WebSocket", placed.getStatus().equals("NEW"), placed.getOrderId());
        var cancel = new com.binance.connector.client.derivatives_trading_usds_futures.websocket.api.model.CancelOrderRequest()
            .symbol(SYMBOL).orderId(placed.getOrderId());
        var canceled = api.cancelOrder(cancel).get(20, TimeUnit.SECONDS).getResult();
        check("cancel over WebSocket", canceled.getStatus().equals("CANCELED"), "");
    }

    static void errors(DerivativesTradingUsdsFuturesRestApi rest, double price) throws Exception {
        refused("no such order", -2011, () -> rest.cancelOrder(SYMBOL, 1L, null, null));
        refused("no margin", -2019, () -> rest.newOrder(limit(price, TimeInForce.GTC).quantity(600.0)));
        refused("off the tick", -4014, () -> rest.newOrder(limit(price + 0.05, TimeInForce.GTC)));
        refused("post-only would take", -5022, () -> rest.newOrder(limit(Math.round(price * 1.04), TimeInForce.GTX)));
        refused("nothing to reduce", -2022, () -> rest.newOrder(order(Side.BUY, "MARKET", 0.01).reduceOnly("true")));
        refused("conditional order of old", -4120,
            () -> rest.newOrder(order(Side.BUY, "STOP_MARKET", 0.01).stopPrice(Math.round(price * 1.1) * 1.0)));
    }

    public static void main(String[] args) {
        try {
            String host = args[0];
            var rest = new DerivativesTradingUsdsFuturesRestApi(signed(new ClientConfiguration(), "http://" + host));
            Set<String> kinds = listen(host, rest.startUserDataStream().getData().getListenKey());
            double price = market(rest, host);
            orders(rest, price);
            overWebSocket(host, price);
            errors(rest, price);
            Set<String> wanted = Set.of("OrderTradeUpdate", "AccountUpdate", "TradeLite", "AlgoUpdate", "AccountConfigUpdate");
            for (int i = 0; i < 100 && !kinds.containsAll(wanted); i++) {
                Thread.sleep(50);
            }
            check("user stream", kinds.containsAll(wanted), kinds);
        } catch (Exception e) {
            check("session", false, e + " " + (e instanceof ApiException a ? a.getResponseBody() : ""));
            e.printStackTrace();
        }
        System.exit(failed ? 1 : 0);
    }
}
