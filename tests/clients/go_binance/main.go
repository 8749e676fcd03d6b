// go-binance over TLS: market data, orders over REST and WebSocket API, user stream, errors.
//
// The certificate's authority comes by SSL_CERT_FILE; nothing but the base URLs is set.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/adshao/go-binance/v2/common"
	"github.com/adshao/go-binance/v2/futures"
)

const (
	name   = "go_binance"
	symbol = "BTCUSDT"
)

var failed = false

func check(what string, held bool, detail any) {
	word := "ok  "
	if !held {
		word, failed = "FAIL", true
	}
	fmt.Printf("%s %s: %s (%v)\n", word, name, what, detail)
}

// must ends the session where a call fails.
func must[T any](value T, err error) T {
	if err != nil {
		check("session", false, err)
		os.Exit(1)
	}
	return value
}

func num(text string) float64 { return must(strconv.ParseFloat(text, 64)) }

// wait waits for what must come.
func wait(what string, came func() bool) {
	for i := 0; i < 400 && !came(); i++ {
		time.Sleep(50 * time.Millisecond)
	}
	check(what, came(), "")
}

// Events of the streams, as they came.
type events struct {
	sync.Mutex
	depth  []*futures.WsDepthEvent
	trades []*futures.WsAggTradeEvent
	klines []*futures.WsKlineEvent
	kinds  map[string]int
	errs   []error
}

func (e *events) fail(err error) { e.Lock(); defer e.Unlock(); e.errs = append(e.errs, err) }

func (e *events) user(u *futures.WsUserDataEvent) {
	e.Lock()
	defer e.Unlock()
	e.kinds[string(u.Event)+" "+string(u.OrderTradeUpdate.ExecutionType)]++
}

func (e *events) count(of func() int) func() bool {
	return func() bool { e.Lock(); defer e.Unlock(); return of() > 0 }
}

func streams(client *futures.Client, e *events, key string) (stop func()) {
	_, a, err := futures.WsDiffDepthServeWithRate(symbol, 100*time.Millisecond, func(d *futures.WsDepthEvent) {
		e.Lock()
		defer e.Unlock()
		e.depth = append(e.depth, d)
	}, e.fail)
	must(a, err)
	_, b, err := futures.WsAggTradeServe(symbol, func(t *futures.WsAggTradeEvent) {
		e.Lock()
		defer e.Unlock()
		e.trades = append(e.trades, t)
	}, e.fail)
	must(b, err)
	_, c, err := futures.WsKlineServe(symbol, "1m", func(k *futures.WsKlineEvent) {
		e.Lock()
		defer e.Unlock()
		e.klines = append(e.klines, k)
	}, e.fail)
	must(c, err)
	_, d, err := futures.WsUserDataServe(key, e.user, e.fail)
	must(d, err)
	return func() { close(a); close(b); close(c); close(d) }
}

func market(client *futures.Client, e *events) float64 {
	ctx := context.Background()
	info := must(client.NewExchangeInfoService().Do(ctx))
	check("exchange info", info.Symbols[0].Symbol == symbol && info.Symbols[0].LotSizeFilter() != nil, len(info.Symbols))
	book := must(client.NewDepthService().Symbol(symbol).Limit(1000).Do(ctx))
	check("book", len(book.Bids) == 1000 && len(book.Asks) == 1000, len(book.Bids))
	check("candles", len(must(client.NewKlinesService().Symbol(symbol).Interval("5m").Limit(50).Do(ctx))) == 50, 50)
	premium := must(client.NewPremiumIndexKlinesService().Symbol(symbol).Interval("1h").Limit(5).Do(ctx))
	check("premium candles", len(premium) == 5, len(premium))
	check("funding terms", len(must(client.NewFundingRateInfoService().Do(ctx))) > 0, "")
	interest := must(client.NewGetOpenInterestService().Symbol(symbol).Do(ctx))
	check("open interest", num(interest.OpenInterest) > 0, interest.OpenInterest)
	wait("depth stream", e.count(func() int { return len(e.depth) / 2 }))
	e.Lock()
	check("depth chains", e.depth[1].PrevLastUpdateID == e.depth[0].LastUpdateID, "")
	e.Unlock()
	wait("trade stream", e.count(func() int { return len(e.trades) }))
	wait("candle stream", e.count(func() int { return len(e.klines) }))
	return math.Round(num(book.Bids[0].Price) * 0.98)
}

func orders(client *futures.Client, price string) {
	ctx := context.Background()
	limit := func() *futures.CreateOrderService {
		return client.NewCreateOrderService().Symbol(symbol).Side(futures.SideTypeBuy).Type(futures.OrderTypeLimit).
			TimeInForce(futures.TimeInForceTypeGTC).Quantity("0.01").Price(price)
	}
	rates := must(client.NewCommissionRateService().Symbol(symbol).Do(ctx))
	check("commission", num(rates.MakerCommissionRate) == 0.0002 && num(rates.TakerCommissionRate) == 0.0005, rates)
	leverage := must(client.NewChangeLeverageService().Symbol(symbol).Leverage(10).Do(ctx))
	check("leverage", leverage.Leverage == 10, leverage.MaxNotionalValue)
	order := must(limit().NewClientOrderID("go:1").Do(ctx))
	check("place", order.Status == futures.OrderStatusTypeNew && order.ClientOrderID == "go:1", order.OrderID)
	open := must(client.NewListOpenOrdersService().Symbol(symbol).Do(ctx))
	check("open orders", len(open) == 1 && open[0].OrderID == order.OrderID, len(open))
	changed := must(client.NewModifyOrderService().Symbol(symbol).OrderID(order.OrderID).Side(futures.SideTypeBuy).
		Quantity("0.02").PriceMatch(futures.PriceMatchTypeQueue5).Do(ctx))
	check("modify by price match", changed.PriceMatch == "QUEUE_5" && num(changed.Price) > num(price), changed.Price)
	canceled := must(client.NewCancelOrderService().Symbol(symbol).OrderID(order.OrderID).Do(ctx))
	check("cancel", canceled.Status == futures.OrderStatusTypeCanceled, "")
	queried := must(client.NewGetOrderService().Symbol(symbol).OrderID(order.OrderID).Do(ctx))
	check("query", queried.Status == futures.OrderStatusTypeCanceled, "")
	sold := must(client.NewCreateOrderService().Symbol(symbol).Side(futures.SideTypeSell).Type(futures.OrderTypeMarket).
		Quantity("0.01").NewOrderResponseType(futures.NewOrderRespTypeRESULT).Do(ctx))
	check("market fill", sold.Status == futures.OrderStatusTypeFilled, sold.ExecutedQuantity)
	position := must(client.NewGetPositionRiskV3Service().Symbol(symbol).Do(ctx))
	check("position", len(position) == 1 && num(position[0].PositionAmt) == -0.01, len(position))
	account := must(client.NewGetAccountV3Service().Do(ctx))
	check("account", num(account.TotalWalletBalance) > 0, account.TotalWalletBalance)
	trades := must(client.NewListAccountTradeService().Symbol(symbol).Do(ctx))
	check("user trades", len(trades) > 0 && num(trades[0].Commission) > 0, len(trades))

	api := must(futures.NewOrderPlaceWsService("K", "S"))
	placed := must(api.SyncDo("place-1", futures.NewOrderPlaceWsRequest().Symbol(symbol).Side(futures.SideTypeBuy).
		Type(futures.OrderTypeLimit).TimeInForce(futures.TimeInForceTypeGTC).Quantity("0.01").Price(price)))
	check("place over WebSocket", placed.Status == 200 && placed.Result.Status == futures.OrderStatusTypeNew, placed.Error)
	_, err := client.NewCancelOrderService().Symbol(symbol).OrderID(placed.Result.OrderID).Do(ctx)
	check("cancel", err == nil, err)
	bought := must(client.NewCreateOrderService().Symbol(symbol).Side(futures.SideTypeBuy).Type(futures.OrderTypeMarket).
		Quantity("0.01").ReduceOnly(true).NewOrderResponseType(futures.NewOrderRespTypeRESULT).Do(ctx))
	check("reduce-only close", bought.Status == futures.OrderStatusTypeFilled, "")

	refused := func(what string, code int64, err error) {
		var e *common.APIError
		check("error: "+what, errors.As(err, &e) && e.Code == code, err)
	}
	_, err = client.NewCancelOrderService().Symbol(symbol).OrderID(1).Do(ctx)
	refused("no such order", -2011, err)
	_, err = limit().Quantity("600").Do(ctx)
	refused("no margin", -2019, err)
	_, err = limit().Price(price + ".05").Do(ctx)
	refused("off the tick", -4014, err)
	_, err = limit().TimeInForce(futures.TimeInForceTypeGTX).Price(strconv.Itoa(int(num(price) * 1.04))).Do(ctx)
	refused("post-only would take", -5022, err)
	_, err = client.NewCreateOrderService().Symbol(symbol).Side(futures.SideTypeSell).
		Type(futures.OrderType("STOP_MARKET")).StopPrice(price).Quantity("0.01").Do(ctx)
	refused("conditional order of old", -4120, err)
}

func main() {
	host := os.Args[1]
	futures.BaseApiMainUrl = "https://" + host
	futures.BaseWsMainUrl = "wss://" + host + "/ws"
	futures.BaseCombinedMainURL = "wss://" + host + "/stream?streams="
	futures.BaseWsApiMainURL = "wss://" + host + "/ws-fapi/v1"
	client := futures.NewClient("K", "S")
	ctx := context.Background()
	check("server time", must(client.NewServerTimeService().Do(ctx)) > 0, "")

	e := &events{kinds: map[string]int{}}
	key := must(client.NewStartUserStreamService().Do(ctx))
	stop := streams(client, e, key)
	price := market(client, e)
	orders(client, strconv.Itoa(int(price)))
	for _, kind := range []string{
		"ORDER_TRADE_UPDATE NEW", "ORDER_TRADE_UPDATE AMENDMENT", "ORDER_TRADE_UPDATE CANCELED", "ORDER_TRADE_UPDATE TRADE",
		"ACCOUNT_UPDATE ", "TRADE_LITE ", "ACCOUNT_CONFIG_UPDATE ",
	} {
		wait("user stream: "+kind, e.count(func() int { return e.kinds[kind] }))
	}
	check("keep the listen key", client.NewKeepaliveUserStreamService().ListenKey(key).Do(ctx) == nil, "")
	stop()
	e.Lock()
	check("no event was strange", len(e.errs) == 0, e.errs)
	e.Unlock()
	if failed {
		os.Exit(1)
	}
}
