// Numbers in, their squares out, and a word to the host.
log('the colour is ' + get('colour'));
input.map(function (n) { return n * n; });
