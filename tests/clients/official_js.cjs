// Binance's official JavaScript SDK: market data, orders over REST and WebSocket API, user stream, errors.
'use strict';

process.env.LOG_LEVEL ??= 'error'; // the SDK tells of every connection

const { DerivativesTradingUsdsFutures } = require('@binance/derivatives-trading-usds-futures');

const NAME = 'official_js';
const SYMBOL = 'BTCUSDT';
let failed = false;

function check(name, held, detail) {
  console.log(`${held ? 'ok  ' : 'FAIL'} ${NAME}: ${name}${detail !== undefined ? ` (${detail})` : ''}`);
  failed = failed || !held;
}

async function refused(name, text, call) {
  try {
    await call();
    check(`error: ${name}`, false, 'accepted');
  } catch (error) {
    check(`error: ${name}`, String(error.message).includes(text), error.message);
  }
}

function open(host, apiSecret = 'S') {
  const keys = { apiKey: 'K', apiSecret };
  return new DerivativesTradingUsdsFutures({
    configurationRestAPI: { ...keys, basePath: `http://${host}` },
    configurationWebsocketAPI: { ...keys, wsURL: `ws://${host}/ws-fapi/v1` },
    configurationWebsocketStreams: { wsURL: `ws://${host}` },
  });
}

// The next frame of a stream, or an error after 20 s.
function next(stream) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error('no frame came')), 20000);
    stream.on('message', (frame) => { clearTimeout(timer); done(frame); });
  });
}

const pause = () => new Promise((done) => setTimeout(done, 1000));

async function session(host) {
  const client = open(host);
  const call = async (name, parameters) => (await client.restAPI[name](parameters)).data();
  const info = await call('exchangeInformation');
  check('exchange info', info.symbols.some((s) => s.symbol === SYMBOL), `${info.symbols.length} symbols`);
  const book = await call('orderBook', { symbol: SYMBOL, limit: 1000 });
  check('book', book.bids.length > 20);
  const streams = await client.websocketStreams.connect();
  const depth = await next(streams.diffBookDepthStreams({ symbol: SYMBOL.toLowerCase() }));
  check('depth stream', depth.s === SYMBOL && depth.u >= depth.U);
  check('trade stream', (await next(streams.aggregateTradeStreams({ symbol: SYMBOL.toLowerCase() }))).s === SYMBOL);
  const events = [];
  const { listenKey } = await call('startUserDataStream');
  streams.userData(listenKey).on('message', (event) => events.push(`${event.e} ${event.o?.x ?? ''}`));
  await pause();

  const balance = await call('futuresAccountBalanceV3');
  check('balance', Number(balance[0].balance) > 0, balance[0].balance);
  await call('changeInitialLeverage', { symbol: SYMBOL, leverage: 10 });
  const price = Math.round(Number(book.bids[0][0]) * 0.98);
  const limit = { symbol: SYMBOL, side: 'BUY', type: 'LIMIT', timeInForce: 'GTX', quantity: 0.01, price };
  const order = await call('newOrder', { ...limit, newClientOrderId: 'js:1' });
  const named = { symbol: SYMBOL, orderId: order.orderId };
  check('place', order.status === 'NEW' && order.clientOrderId === 'js:1', order.orderId);
  const opened = await call('currentAllOpenOrders', { symbol: SYMBOL });
  check('open orders', opened.map((o) => String(o.orderId)).join() === String(order.orderId));
  const edited = await call('modifyOrder', { ...named, side: 'BUY', quantity: 0.02, price });
  check('modify', Number(edited.origQty) === 0.02);
  check('cancel', (await call('cancelOrder', named)).status === 'CANCELED');
  check('query', (await call('queryOrder', named)).status === 'CANCELED');
  const market = { symbol: SYMBOL, type: 'MARKET', quantity: 0.01, newOrderRespType: 'RESULT' };
  check('market fill', (await call('newOrder', { ...market, side: 'SELL' })).status === 'FILLED');
  const positions = await call('positionInformationV3');
  check('position', positions.length === 1 && Number(positions[0].positionAmt) === -0.01);
  check('account', Number((await call('accountInformationV3')).totalWalletBalance) > 0);
  check('user trades', (await call('accountTradeList', { symbol: SYMBOL })).length > 0);

  const api = await client.websocketAPI.connect();
  const placed = (await api.newOrder({ ...limit, timeInForce: 'GTC' })).data;
  const over = { symbol: SYMBOL, orderId: placed.orderId };
  check('place over WebSocket', placed.status === 'NEW');
  check('query over WebSocket', (await api.queryOrder(over)).data.status === 'NEW');
  check('cancel over WebSocket', (await api.cancelOrder(over)).data.status === 'CANCELED');
  await api.disconnect();
  const closed = await call('newOrder', { ...market, side: 'BUY', reduceOnly: 'true' });
  check('reduce-only close', closed.status === 'FILLED');
  await pause();
  const wanted = ['NEW', 'AMENDMENT', 'CANCELED', 'TRADE'].map((x) => `ORDER_TRADE_UPDATE ${x}`);
  check('user stream', [...wanted, 'ACCOUNT_UPDATE ', 'TRADE_LITE '].every((e) => events.includes(e)), `${events.length} events`);
  await streams.disconnect();

  await refused('no such order', 'Unknown order', () => call('cancelOrder', { symbol: SYMBOL, orderId: 1 }));
  await refused('no margin', 'Margin is insufficient', () => call('newOrder', { ...limit, quantity: 600 }));
  await refused('nothing to reduce', 'ReduceOnly', () => call('newOrder', { ...market, side: 'BUY', reduceOnly: 'true' }));
  await refused('post-only would take', 'Post Only', () => call('newOrder', { ...limit, price: Math.round(price * 1.04) }));
  await refused('off the tick', 'tick size', () => call('newOrder', { ...limit, price: price + 0.05 }));
  await refused('bad signature', 'Signature', () => open(host, 'wrong').restAPI.futuresAccountBalanceV3());
}

session(process.argv[2])
  .catch((error) => check('session', false, `${error.name}: ${error.message}`))
  .finally(() => process.exit(failed ? 1 : 0));
