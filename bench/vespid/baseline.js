// What a request costs where no virtine runs it: a process that is started for each one, or processes that wait for
// requests. Run: node baseline.js PORT process|pool WORKLOAD.js
// SPDX-License-Identifier: MIT
const http = require('http'), {execFile, fork} = require('child_process'), fs = require('fs'), os = require('os'), vm = require('vm');
const [port, way, workload] = process.argv.slice(2);

if (way === 'one') {
  evaluateAll();
} else {
  const pool = [], idle = [], waiting = [];
  if (way === 'pool') {
    for (let i = 0; i < 2 * os.cpus().length; ++i) {
      const child = fork(__filename, ['0', 'one', workload]);
      child.on('message', text => {
        child.done(text);
        idle.push(child);
        if (waiting.length > 0) give(...waiting.shift());
      });
      pool.push(child);
      idle.push(child);
    }
  }
  function give(body, done) {
    const child = idle.pop();
    if (!child) return waiting.push([body, done]);
    child.done = done;
    child.send(body);
  }
  http.createServer((request, response) => {
    let body = '';
    request.on('data', part => body += part);
    request.on('end', () => {
      const done = text => response.end(text);
      if (way === 'pool') return give(body, done);
      const child = execFile(process.execPath, [__filename, '0', 'one', workload], (why, out) => {
        if (why) response.statusCode = 500;
        done(out);
      });
      child.stdin.end(body);
    });
  }).listen(Number(port), '127.0.0.1', () => console.log('ready'));
  process.on('SIGTERM', () => { pool.forEach(each => each.kill()); process.exit(); });
}

function evaluateAll() {
  const script = new vm.Script(fs.readFileSync(workload, 'utf8'));
  // A context of its own for each request, as far as node keeps one request from the next.
  const evaluate = body => JSON.stringify(script.runInContext(vm.createContext({input: JSON.parse(body)})));
  if (process.send) return process.on('message', body => process.send(evaluate(body)));
  process.stdout.write(evaluate(fs.readFileSync(0, 'utf8')));
}
