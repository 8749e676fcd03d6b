// ccxt (JavaScript, pro): market data, orders, user stream, errors.
'use strict';

const ccxt = require('ccxt');

const NAME = 'ccxt_js';
const SYMBOL = 'BTC/USDT:USDT';
let failed = false;

function check(name, held, detail) {
  console.log(`${held ? 'ok  ' : 'FAIL'} ${NAME}: ${name}${detail !== undefined ? ` (${detail})` : ''}`);
  failed = failed || !held;
}

async function refused(name, kind, code, call) {
  try {
    await call();
    check(`error: ${name}`, false, 'accepted');
  } catch (error) {
    const held = error instanceof kind && error.message.includes(code);
    check(`error: ${name}`, held, held ? undefined : `${error.name}: ${error.message}`);
  }
}

async function connect(host) {
  const ex = new ccxt.pro.binanceusdm({
    apiKey: 'K', secret: 'S', options: { fetchCurrencies: false, fetchMargins: false },
  });
  const urls = ex.urls.api;
  for (const key of Object.keys(urls)) {
    if (key.startsWith('fapi') && typeof urls[key] === 'string') {
      urls[key] = urls[key].replace('https://fapi.binance.com', `http://${host}`);
    }
  }
  for (const name of ['linear', 'future']) {
    if (name in urls.ws) urls.ws[name] = `ws://${host}/ws`;
    if (urls.ws['ws-api'] && name in urls.ws['ws-api']) urls.ws['ws-api'][name] = `ws://${host}/ws-fapi/v1`;
  }
  await ex.loadHttpProxyAgent(); // it wants this once for ws:// addresses
  return ex;
}

async function session(host) {
  const ex = await connect(host);
  try {
    const markets = await ex.loadMarkets();
    check('exchange info', SYMBOL in markets, `${Object.keys(markets).length} markets`);
    let book;
    for (let n = 0; n < 3; n += 1) book = await ex.watchOrderBook(SYMBOL);
    check('depth stream', book.bids[0][0] < book.asks[0][0] && book.bids.length > 20);
    check('balance', (await ex.fetchBalance()).USDT.total > 0);
    const events = [];
    let listening = true;
    (async () => {
      while (listening) for (const o of await ex.watchOrders(SYMBOL)) events.push(`${o.id} ${o.status}`);
    })().catch(() => {});
    await new Promise((done) => setTimeout(done, 1000));
    const price = book.bids[0][0] * 0.98;
    const order = await ex.createOrder(SYMBOL, 'limit', 'buy', 0.01, price, { postOnly: true });
    check('place', order.status === 'open', order.id);
    check('open orders', (await ex.fetchOpenOrders(SYMBOL)).map((o) => o.id).join() === order.id);
    check('cancel', (await ex.cancelOrder(order.id, SYMBOL)).status === 'canceled');
    check('query', (await ex.fetchOrder(order.id, SYMBOL)).status === 'canceled');
    const market = await ex.createOrder(SYMBOL, 'market', 'sell', 0.01);
    check('market fill', market.status === 'closed');
    const positions = await ex.fetchPositions([SYMBOL]);
    check('position', positions[0].side === 'short' && positions[0].contracts === 0.01);
    const closed = await ex.createOrder(SYMBOL, 'market', 'buy', 0.01, undefined, { reduceOnly: true });
    check('reduce-only close', closed.status === 'closed');
    await new Promise((done) => setTimeout(done, 1000));
    listening = false;
    check('user stream', events.includes(`${order.id} canceled`) && events.includes(`${market.id} closed`), `${events.length} events`);
    await refused('no such order', ccxt.OrderNotFound, '-2011', () => ex.cancelOrder('1', SYMBOL));
    await refused('no margin', ccxt.ExchangeError, '-2019', () => ex.createOrder(SYMBOL, 'limit', 'buy', 600, price));
    ex.secret = 'wrong';
    await refused('bad signature', ccxt.AuthenticationError, '-1022', () => ex.fetchBalance());
  } finally {
    await ex.close();
  }
}

session(process.argv[2])
  .catch((error) => check('session', false, `${error.name}: ${error.message}`))
  .finally(() => process.exit(failed ? 1 : 0));
