(function_declaration name: (_) @name) @definition
(method_declaration name: (_) @name) @definition
(type_spec name: (_) @name) @definition
(source_file (const_declaration (const_spec name: (_) @name) @definition))
(source_file (var_declaration (var_spec name: (_) @name) @definition))
