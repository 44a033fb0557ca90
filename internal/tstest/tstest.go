// Package tstest runs the tests of the TypeScript SDK (sdk/ts), also against a
// real server whose connections are cut and which is stopped and killed meanwhile.
package tstest
