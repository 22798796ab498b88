# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of a test's own."""

import subprocess


def _openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """`certificate` is the file that its clients trust."""

    def __init__(self, folder, name="tests"):
        self._folder = folder
        self.certificate = folder / f"{name}-ca.pem"
        self._key = folder / f"{name}-ca.key"
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                 "-subj", f"/CN={name} CA", "-keyout", self._key, "-out", self.certificate)

    def issue(self, *names, file=None, days=30, common_name=None):
        """(certificate with its chain, key) for these host names, in the files FILE.pem and FILE.key. `days` may be
        negative: it has expired."""
        file = file or names[0]
        certificate, key = self._folder / f"{file}.pem", self._folder / f"{file}.key"
        request, extensions = self._folder / f"{file}.csr", self._folder / f"{file}.ext"
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-subj", f"/CN={common_name or names[0]}", "-keyout", f"{key}.new", "-out", request)
        extensions.write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in names) + "\n")
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
                 "-days", days, "-extfile", extensions, "-out", f"{certificate}.new")
        with open(f"{certificate}.new", "a", encoding="ascii") as chain:
            chain.write(self.certificate.read_text())
        for path in (key, certificate):
            path.with_name(path.name + ".new").rename(path)
        return certificate, key
