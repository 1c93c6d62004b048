// Carries out what the command line asked for.
#ifndef TMEM_CTL_COMMANDS_H_
#define TMEM_CTL_COMMANDS_H_

#include <string>

#include "base/result.h"
#include "ctl/command_line.h"

namespace tmem::ctl {

// Sends the requests, prints the answers on standard output. Stops at the first that fails.
Result<void> Obey(const Order& order);

// The text for the result of a request.
std::string TextFor(Show show, const Json& result);

}  // namespace tmem::ctl

#endif  // TMEM_CTL_COMMANDS_H_
