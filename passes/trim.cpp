#include "passes/trim.h"

namespace cnnc {

void trim(Loop& loop, const Slide& slide, const std::function<Interval(int)>& of_index)
{
  if (loop.begin.size() != 1 || loop.end.size() != 1 || !loop.begin[0].is_constant() || !loop.end[0].is_constant())
    return;
  // sign > 0:  0 <= place + offset + i < extent  for some offset;  else  0 <= place + offset - i < extent
  const Affine first =
      slide.sign > 0 ? Affine(0) - slide.place - slide.most : slide.place + slide.least - slide.extent + 1;
  const Affine last = slide.sign > 0 ? Affine(slide.extent - 1) - slide.place - slide.least : slide.place + slide.most;
  if (range(first, of_index).hi > loop.begin[0].constant)
    loop.begin.push_back(first);
  if (range(last, of_index).lo < loop.end[0].constant - 1)
    loop.end.push_back(last + 1);
}

void for_each_factor(const Expr& value, const std::function<void(const Expr& read)>& visit)
{
  if (value.fn == Fn::read)
    visit(value);
  else if (value.fn == Fn::mul || value.fn == Fn::neg || value.fn == Fn::cast)
    for (const ExprPtr& argument : value.args)
      for_each_factor(*argument, visit);
}

} // namespace cnnc
