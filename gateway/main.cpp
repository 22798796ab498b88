#include "gateway/cli/cli.h"

int main(int argc, char** argv) {
    return mailgate::cli::run(argc, argv);
}
