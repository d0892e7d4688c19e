// What V8 takes for the same function: in a context that is kept, in a new one for each call, and in
// a new process. Writes what the benchmark programs write.
// SPDX-License-Identifier: MIT
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import { parseArgs } from "node:util";
import vm from "node:vm";

const text = { type: "string" };
const options = { json: text, samples: text, commit: text, limit: text, short: { type: "boolean" } };
const given = parseArgs({ options }).values;
const source = "function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2) }";
const script = new vm.Script(source + "; fib(n)");
const kept = vm.createContext({ n: 0 });
vm.runInContext(source, kept);
const fib = vm.runInContext("fib", kept);

const bodies = {
  "node.fib.0.kept": [2000, 1000, () => fib(0)],
  "node.fib.0.new": [300, 1, () => script.runInContext(vm.createContext({ n: 0 }))],
  "node.fib.20.kept": [1000, 1, () => fib(20)],
  "node.fib.20.new": [200, 1, () => script.runInContext(vm.createContext({ n: 20 }))],
  "node.process": [20, 1, () => execFileSync(process.execPath, ["-e", "0"])],
};

const rows = [];
const lines = ["row,unit,kind,value"];
for (const [name, [count, batch, body]] of Object.entries(bodies)) {
  const take = () => {
    const begin = process.hrtime.bigint();
    for (let i = 0; i < batch; ++i) body();
    return Number(process.hrtime.bigint() - begin) / 1000 / batch;
  };
  const number = (value) => Number(value.toPrecision(6));
  const samples = [];
  lines.push([name, "us", "first", number(take())].join());
  const wanted = given.short ? Math.min(count, 10) : count;
  while (samples.length < wanted) samples.push(number(take()));
  for (const value of samples) lines.push([name, "us", "sample", value].join());
  samples.sort((a, b) => a - b);
  const n = samples.length;
  rows.push({
    name, unit: "us", n, min: samples[0],
    median: (samples[(n - 1) >> 1] + samples[n >> 1]) / 2,
    p99: samples[Math.ceil(0.99 * n) - 1], floor: null, ratio: null,
  });
}
const cpu = /model name\s*: (.*)/.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "unknown";
const machine = {
  cpu, kernel: os.release(), kvm: "none", compiler: "node " + process.version, commit: given.commit, optimised: true,
};
writeFileSync(given.json, JSON.stringify({ program: "node", machine, rows }, null, 1) + "\n");
writeFileSync(given.samples, lines.join("\n") + "\n");
