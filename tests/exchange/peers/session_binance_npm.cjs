// A session of npm's binance, unmodified, connected as the README says; out goes what it saw.

"use strict";

const net = require("node:net");
const client = require(process.env.EXCHANGE_README);

const symbol = "BTCUSDT";
const seen = {};

function refusal(host) {
	try {
		net.connect(80, host);
		return null;
	} catch (error) {
		return error.message;
	}
}

async function holding() {
	const { balances } = await client.getAccountInformation();
	const { free, locked } = balances.find(({ asset }) => asset === "BTC");
	return Number(free) + Number(locked);
}

async function main() {
	const last = Number((await client.getSymbolPriceTicker({ symbol })).price);
	const at = (share) => String(Math.round(last * (1 + share)));
	const place = (side, share) =>
		client.submitNewOrder({ symbol, side, type: "LIMIT", timeInForce: "GTC", quantity: 0.1, price: at(share) });

	seen.guard = refusal("192.0.2.1")?.includes("loopback only") && "guard";
	const info = await client.getExchangeInfo({ symbol });
	seen.filters = info.symbols[0].filters.map(({ filterType }) => filterType);
	const candles = await client.getKlines({ symbol, interval: "1m", limit: 3 });
	seen.candles = [candles.length, Number(candles.at(-1)[4]) === last];
	const held = await holding();
	const first = await place("BUY", -0.05);
	const second = await place("SELL", 0.05);
	seen.placed = [first.status, second.status];
	const open = await client.getOpenOrders({ symbol });
	seen.listed = String(open.map(({ orderId }) => orderId)) === String([first.orderId, second.orderId]);
	seen.queried = (await client.getOrder({ symbol, orderId: first.orderId })).price === first.price;
	seen.canceled = (await client.cancelOrder({ symbol, orderId: first.orderId })).status;
	const oco = await client.submitNewOrderList({
		symbol,
		side: "SELL",
		quantity: 0.2,
		aboveType: "LIMIT_MAKER",
		abovePrice: at(0.06),
		belowType: "STOP_LOSS_LIMIT",
		belowStopPrice: at(-0.06),
		belowPrice: at(-0.062),
		belowTimeInForce: "GTC",
	});
	seen.oco = [oco.contingencyType, oco.listOrderStatus, oco.orderReports.length];
	const rows = await client.cancelAllSymbolOrders({ symbol });
	seen.rows = rows.map((row) => ("orderReports" in row ? "list" : "order")).sort();
	await client.cancelAllSymbolOrders({ symbol }).catch(({ code, message }) => {
		seen.nothing = [code, message];
	});
	await client.submitNewOrder({ symbol, side: "BUY", type: "MARKET", quantity: 0.01 });
	const trades = await client.getAccountTradeList({ symbol });
	seen.trades = trades.reduce((sum, { qty }) => sum + Number(qty), 0);
	seen.bought = Number(((await holding()) - held).toFixed(8));
	const account = await client.getAccountInformation();
	seen.account = Object.keys(account).filter((name) => ["balances", "canTrade", "commissionRates", "uid"].includes(name)).sort();
	seen.left = await client.getOpenOrders();
	await client.getBalances(); // from /sapi
	console.log(JSON.stringify(seen));
}

main();
