// SPDX-License-Identifier: Apache-2.0
// Nothing: what it is compiled with, the heads that all unit tests include, is what is wanted.
